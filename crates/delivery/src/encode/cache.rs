//! The templates of one endpoint, by chunk. A chunk gets one when it is seen for the second time: series that are pushed once would pay
//! for a template and never use it. A template goes when nobody holds its chunk any more.

use std::sync::{Arc, Weak};

use hashbrown::HashMap;
use model::Chunk;
use parking_lot::Mutex;

use super::template::{Stamps, Template};

/// Templates stop being made at this size (of an endpoint): 16 million series of ordinary width. What comes then is encoded the ordinary way.
const MAX_BYTES: usize = 512 << 20;
/// The table is not swept for less than this many chunks.
const MIN_SWEEP: usize = 1024;

/// What to do with a chunk.
pub(super) enum Lookup {
    /// Fill in this template.
    Ready(Arc<Template>),
    /// Make a template and put it back.
    Build,
    /// Encode without one.
    Ordinary,
}

/// Templates by chunk number. Shared by the shards of an endpoint: a chunk costs one look-up per 512 samples.
#[derive(Default)]
pub(super) struct TemplateCache {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    entries: HashMap<(u64, Stamps), Entry>,
    bytes: usize,
    built: u64,
    sweep_at: usize,
}

struct Entry {
    chunk: Weak<Chunk>,
    state: State,
}

enum State {
    Seen,
    Ready(Arc<Template>),
    /// No template can be made.
    Unfit,
}

impl TemplateCache {
    /// What to do with `chunk`, which is noted as seen.
    pub fn look_up(&self, chunk: &Arc<Chunk>, stamps: Stamps) -> Lookup {
        let mut table = self.table.lock();
        if let Some(entry) = table.entries.get(&(chunk.id(), stamps)) {
            return match &entry.state {
                State::Ready(template) => Lookup::Ready(template.clone()),
                State::Seen if table.bytes < MAX_BYTES => Lookup::Build,
                State::Seen | State::Unfit => Lookup::Ordinary,
            };
        }
        if table.entries.len() >= table.sweep_at.max(MIN_SWEEP) {
            table.sweep();
            table.sweep_at = 2 * table.entries.len();
        }
        table.entries.insert((chunk.id(), stamps), Entry { chunk: Arc::downgrade(chunk), state: State::Seen });
        Lookup::Ordinary
    }

    /// Keeps the template of `chunk`, or the knowledge that there can be none.
    pub fn put(&self, chunk: &Arc<Chunk>, stamps: Stamps, template: Option<Arc<Template>>) {
        let mut table = self.table.lock();
        table.bytes += template.as_ref().map_or(0, |template| template.heap_bytes());
        table.built += u64::from(template.is_some());
        let state = template.map_or(State::Unfit, State::Ready);
        let before = table.entries.insert((chunk.id(), stamps), Entry { chunk: Arc::downgrade(chunk), state });
        table.bytes -= before.map_or(0, |entry| entry.bytes());
    }

    /// Lets go what belongs to chunks that are gone.
    pub fn sweep(&self) {
        self.table.lock().sweep();
    }

    /// Bytes of all templates, and how many were ever made.
    pub fn usage(&self) -> (usize, u64) {
        let table = self.table.lock();
        (table.bytes, table.built)
    }
}

impl Table {
    fn sweep(&mut self) {
        let bytes = &mut self.bytes;
        self.entries.retain(|_, entry| {
            let alive = entry.chunk.strong_count() > 0;
            *bytes -= if alive { 0 } else { entry.bytes() };
            alive
        });
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        if let State::Ready(template) = &self.state { template.heap_bytes() } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use model::{Labels, LayoutBuilder};

    use super::*;
    use crate::encode::outgoing::Outgoing;

    fn chunk() -> Arc<Chunk> {
        let mut builder = LayoutBuilder::default();
        builder.push([("__name__", "up")].into_iter()).unwrap();
        builder.finish().chunks()[0].clone()
    }

    fn template(chunk: &Chunk) -> Arc<Template> {
        Arc::new(Template::build(chunk, &Outgoing::new(Labels::empty(), None), Stamps::Shared, 512).unwrap())
    }

    #[test]
    fn a_chunk_gets_a_template_when_it_comes_again() {
        let (cache, chunk) = (TemplateCache::default(), chunk());
        assert!(matches!(cache.look_up(&chunk, Stamps::Shared), Lookup::Ordinary));
        assert!(matches!(cache.look_up(&chunk, Stamps::Shared), Lookup::Build));
        cache.put(&chunk, Stamps::Shared, Some(template(&chunk)));
        assert!(matches!(cache.look_up(&chunk, Stamps::Shared), Lookup::Ready(_)));
        assert!(matches!(cache.look_up(&chunk, Stamps::Own), Lookup::Ordinary), "kinds of templates are apart");
    }

    #[test]
    fn a_template_goes_with_its_chunk_and_its_bytes_are_given_back() {
        let (cache, first, second) = (TemplateCache::default(), chunk(), chunk());
        for chunk in [&first, &second, &second] {
            cache.put(chunk, Stamps::Shared, Some(template(chunk)));
        }
        let both = cache.usage().0;
        drop(first);
        cache.sweep();
        assert_eq!(cache.usage(), (both / 2, 3));
        drop(second);
        cache.sweep();
        assert_eq!(cache.usage().0, 0);
    }

    #[test]
    fn chunks_that_are_seen_once_do_not_pile_up() {
        let cache = TemplateCache::default();
        for _ in 0..3 * MIN_SWEEP {
            cache.look_up(&chunk(), Stamps::Shared);
        }
        assert!(cache.table.lock().entries.len() <= MIN_SWEEP);
    }

    #[test]
    fn a_chunk_that_is_unfit_is_not_tried_again() {
        let (cache, chunk) = (TemplateCache::default(), chunk());
        cache.put(&chunk, Stamps::Shared, None);
        assert!(matches!(cache.look_up(&chunk, Stamps::Shared), Lookup::Ordinary));
    }
}
