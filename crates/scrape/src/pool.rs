//! Memory that is passed from scrape to scrape, so that there is as much of it as scrapes are reading bodies, not as there are targets.

use parking_lot::Mutex;

use crate::fetch::{Gunzip, OUTPUT, Whole};
use crate::series::Scratch;

/// What reading one body needs. Taken when the head of an answer has come.
#[derive(Default)]
pub(crate) struct Workbench {
    pub(crate) scratch: Scratch,
    pub(crate) inflaters: Inflaters,
}

/// What compressed bodies need. Made when one first does.
#[derive(Default)]
pub(crate) struct Inflaters {
    pub(crate) whole: Option<Whole>,
    pub(crate) gunzip: Option<Box<Gunzip>>,
    /// A short body as it comes, at most 64 KiB.
    pub(crate) collected: Vec<u8>,
}

/// Idle workbenches. Taking never waits: a slow target keeps its own, and others get new ones.
pub(crate) struct Pool {
    #[allow(clippy::vec_box)] // boxed where they are used: scrapes in flight keep a pointer instead of the whole
    idle: Mutex<Vec<Box<Workbench>>>,
    /// Output buffers of inflaters. A scrape has one only while it decompresses, not while it waits for more.
    outputs: Mutex<Vec<Box<[u8]>>>,
    max_idle: usize,
}

impl Pool {
    /// A pool that keeps at most `max_idle` workbenches (each up to about 2 MiB) while nobody uses them.
    pub(crate) fn new(max_idle: usize) -> Self {
        Self { idle: Mutex::default(), outputs: Mutex::default(), max_idle }
    }

    pub(crate) fn take(&self) -> Box<Workbench> {
        self.idle.lock().pop().unwrap_or_default()
    }

    pub(crate) fn take_output(&self) -> Box<[u8]> {
        self.outputs.lock().pop().unwrap_or_else(|| vec![0; OUTPUT].into_boxed_slice())
    }

    pub(crate) fn give_back_output(&self, output: Box<[u8]>) {
        let mut outputs = self.outputs.lock();
        if outputs.len() < self.max_idle {
            outputs.push(output);
        }
    }

    pub(crate) fn give_back(&self, workbench: Box<Workbench>) {
        let mut idle = self.idle.lock();
        if idle.len() < self.max_idle {
            idle.push(workbench);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_maximum_is_kept() {
        let pool = Pool::new(2);
        let taken = [pool.take(), pool.take(), pool.take()];
        taken.into_iter().for_each(|workbench| pool.give_back(workbench));
        assert_eq!(pool.idle.lock().len(), 2);
        pool.take();
        assert_eq!(pool.idle.lock().len(), 1);
        let outputs = [pool.take_output(), pool.take_output(), pool.take_output()];
        outputs.into_iter().for_each(|output| pool.give_back_output(output));
        assert_eq!(pool.outputs.lock().len(), 2);
    }
}
