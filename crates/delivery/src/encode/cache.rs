//! The templates of one endpoint, by chunk. A chunk gets one when it is seen for the second time: series that are pushed once would pay
//! for a template and never use it, and two sends tell which values change. A template goes when nobody holds its chunk any more.
//!
//! A template is made anew where most of its values turned out to change (a target was restarted), and looked through from time to time:
//! rows that stopped changing get back into its text. Both happen so seldom that their cost does not show, whatever values do.

use std::ops::RangeInclusive;
use std::sync::{Arc, Weak};

use hashbrown::HashMap;
use model::Chunk;
use parking_lot::Mutex;

use super::template::{Stamps, Template};

/// Templates stop being made at this size (of an endpoint): 16 million series of ordinary width. What comes then is encoded the ordinary way.
const MAX_BYTES: usize = 512 << 20;
/// The table is not swept for less than this many chunks.
const MIN_SWEEP: usize = 1024;
/// A template is first looked through after this many sends (and up to as many more, so that chunks don't come in step), …
const FIRST_REVIEW: u32 = 32;
/// … and then after this many: less often while rows that got back into the text soon change again, more often while they don't.
const REVIEW_EVERY: RangeInclusive<u32> = 256..=8192;
/// A row has stopped changing if its value is what it was so many sends ago.
const REVIEW_SPAN: u32 = 8;
/// If one of so many sends has to widen the template, that is too often …
const WIDENED_OFTEN: u32 = 16;
/// … and this is seldom.
const WIDENED_SELDOM: u32 = 128;
/// A template is not given up before it was used so often.
pub(super) const MIN_SENDS: u32 = 16;

/// What to do with a chunk.
pub(super) enum Lookup {
    /// Fill in this template, which was used so often.
    Ready(Arc<Template>, u32),
    /// Make a template and put it back; these were the values before.
    Build(Box<[f64]>),
    /// As `Ready`, but see whether a new template would be better than this one, and put it back if so; these were the values before.
    Review(Arc<Template>, Box<[f64]>, u32),
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
    widened: u64,
    sweep_at: usize,
}

struct Entry {
    chunk: Weak<Chunk>,
    state: State,
}

enum State {
    /// With the values that it had.
    Seen(Box<[f64]>),
    Ready(Ready),
    /// No template can be made.
    Unfit,
}

struct Ready {
    template: Arc<Template>,
    /// How often it was used.
    sends: u32,
    /// Sends from the last review to the next, or those before the first.
    interval: u32,
    reviewed_at: u32,
    /// How often it was widened since the last review.
    widened: u32,
    /// The values some sends before the next review.
    before: Option<Box<[f64]>>,
}

/// What the templates of an endpoint come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TemplateUsage {
    /// Bytes that they take now.
    pub bytes: usize,
    /// How many were ever made.
    pub built: u64,
    /// How often one got holes for values that had been constant.
    pub widened: u64,
}

impl TemplateCache {
    /// What to do with `chunk`, which is noted as seen with these values.
    pub fn look_up(&self, chunk: &Arc<Chunk>, stamps: Stamps, values: &[f64]) -> Lookup {
        let mut table = self.table.lock();
        let full = table.bytes >= MAX_BYTES;
        if let Some(entry) = table.entries.get_mut(&(chunk.id(), stamps)) {
            let bytes = entry.bytes();
            let lookup = entry.state.look_up(values, full);
            let grown = entry.bytes();
            table.bytes = table.bytes + grown - bytes;
            return lookup;
        }
        if table.entries.len() >= table.sweep_at.max(MIN_SWEEP) {
            table.sweep();
            table.sweep_at = 2 * table.entries.len();
        }
        table.put(chunk, stamps, State::Seen(values.into()));
        Lookup::Ordinary
    }

    /// Keeps a new template of `chunk`, or the knowledge that there can be none.
    pub fn put(&self, chunk: &Arc<Chunk>, stamps: Stamps, template: Option<Arc<Template>>) {
        let mut table = self.table.lock();
        table.built += u64::from(template.is_some());
        let interval = FIRST_REVIEW + chunk.id() as u32 % FIRST_REVIEW;
        table.put(chunk, stamps, template.map_or(State::Unfit, |template| State::Ready(Ready::new(template, interval))));
    }

    /// Keeps `template` instead of the one that it was widened from, or the knowledge that there can be none.
    pub fn widened(&self, chunk: &Arc<Chunk>, stamps: Stamps, template: Option<Arc<Template>>) {
        self.replace(chunk, stamps, template, |table, ready| {
            *table += 1;
            ready.widened += 1;
        });
    }

    /// Keeps `template` instead of the one that was reviewed.
    pub fn renewed(&self, chunk: &Arc<Chunk>, stamps: Stamps, template: Option<Arc<Template>>) {
        let built = u64::from(template.is_some());
        self.replace(chunk, stamps, template, |_, _| {});
        self.table.lock().built += built;
    }

    fn replace(&self, chunk: &Arc<Chunk>, stamps: Stamps, template: Option<Arc<Template>>, note: impl FnOnce(&mut u64, &mut Ready)) {
        let mut table = self.table.lock();
        let Some(template) = template else { return table.put(chunk, stamps, State::Unfit) };
        let Table { entries, bytes, widened, .. } = &mut *table;
        if let Some(Entry { state: State::Ready(ready), .. }) = entries.get_mut(&(chunk.id(), stamps)) {
            *bytes = *bytes + template.heap_bytes() - ready.template.heap_bytes();
            ready.template = template;
            note(widened, ready);
        }
    }

    /// Lets go the template of `chunk`, which is noted as seen with these values.
    pub fn forget(&self, chunk: &Arc<Chunk>, stamps: Stamps, values: &[f64]) {
        self.table.lock().put(chunk, stamps, State::Seen(values.into()));
    }

    /// Lets go what belongs to chunks that are gone.
    pub fn sweep(&self) {
        self.table.lock().sweep();
    }

    /// Lets go everything.
    pub fn clear(&self) {
        let mut table = self.table.lock();
        (table.entries, table.bytes) = (HashMap::new(), 0);
    }

    /// What all templates come to.
    pub fn usage(&self) -> TemplateUsage {
        let table = self.table.lock();
        TemplateUsage { bytes: table.bytes, built: table.built, widened: table.widened }
    }
}

impl State {
    fn look_up(&mut self, values: &[f64], full: bool) -> Lookup {
        match self {
            Self::Seen(_) if full => Lookup::Ordinary,
            Self::Seen(before) => Lookup::Build(std::mem::take(before)),
            Self::Ready(ready) => ready.look_up(values),
            Self::Unfit => Lookup::Ordinary,
        }
    }
}

impl Ready {
    fn new(template: Arc<Template>, interval: u32) -> Self {
        Self { template, sends: 0, interval, reviewed_at: 0, widened: 0, before: None }
    }

    fn look_up(&mut self, values: &[f64]) -> Lookup {
        self.sends = self.sends.wrapping_add(1);
        let since = self.sends.wrapping_sub(self.reviewed_at);
        if since == self.interval - REVIEW_SPAN {
            self.before = Some(values.into());
        }
        if since >= self.interval {
            self.reviewed_at = self.sends;
            self.interval = self.next_interval();
            self.widened = 0;
            if let Some(before) = self.before.take() {
                return Lookup::Review(self.template.clone(), before, self.sends);
            }
        }
        Lookup::Ready(self.template.clone(), self.sends)
    }

    fn next_interval(&self) -> u32 {
        let next = match self.interval / self.widened.max(1) {
            ..WIDENED_OFTEN => 2 * self.interval,
            WIDENED_SELDOM.. => self.interval / 2,
            _ => self.interval,
        };
        next.clamp(*REVIEW_EVERY.start(), *REVIEW_EVERY.end())
    }
}

impl Table {
    fn put(&mut self, chunk: &Arc<Chunk>, stamps: Stamps, state: State) {
        let entry = Entry { chunk: Arc::downgrade(chunk), state };
        self.bytes += entry.bytes();
        let before = self.entries.insert((chunk.id(), stamps), entry);
        self.bytes -= before.map_or(0, |entry| entry.bytes());
    }

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
        match &self.state {
            State::Seen(values) => size_of_val(&**values),
            State::Ready(ready) => ready.template.heap_bytes() + ready.before.as_ref().map_or(0, |values| size_of_val(&**values)),
            State::Unfit => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{Labels, LayoutBuilder};

    use super::*;
    use crate::encode::Message;
    use crate::encode::extras::Extras;
    use crate::encode::outgoing::Outgoing;
    use crate::encode::template::{Known, Style};

    const VALUE: [f64; 1] = [1.0];

    fn chunk() -> Arc<Chunk> {
        let mut builder = LayoutBuilder::default();
        builder.push([("__name__", "up")].into_iter()).unwrap();
        builder.finish().chunks()[0].clone()
    }

    fn template(chunk: &Chunk) -> Arc<Template> {
        let known = Known { before: &VALUE, now: &VALUE, extras: Extras::default() };
        let outgoing = Outgoing::new(Labels::empty(), None);
        let style = Style { outgoing: &outgoing, message: Message::V1, step: 512 };
        Arc::new(Template::build(chunk, style, Stamps::Shared, known).unwrap())
    }

    #[test]
    fn a_chunk_gets_a_template_when_it_comes_again() {
        let (cache, chunk) = (TemplateCache::default(), chunk());
        assert!(matches!(cache.look_up(&chunk, Stamps::Shared, &VALUE), Lookup::Ordinary));
        assert!(matches!(cache.look_up(&chunk, Stamps::Shared, &[2.0]), Lookup::Build(before) if *before == VALUE));
        cache.put(&chunk, Stamps::Shared, Some(template(&chunk)));
        assert!(matches!(cache.look_up(&chunk, Stamps::Shared, &VALUE), Lookup::Ready(_, 1)));
        assert!(matches!(cache.look_up(&chunk, Stamps::Own, &VALUE), Lookup::Ordinary), "kinds of templates are apart");
    }

    #[test]
    fn a_template_goes_with_its_chunk_and_its_bytes_are_given_back() {
        let (cache, first, second) = (TemplateCache::default(), chunk(), chunk());
        for chunk in [&first, &second, &second] {
            cache.put(chunk, Stamps::Shared, Some(template(chunk)));
        }
        let both = cache.usage().bytes;
        drop(first);
        cache.sweep();
        assert_eq!(cache.usage(), TemplateUsage { bytes: both / 2, built: 3, widened: 0 });
        cache.look_up(&chunk(), Stamps::Shared, &VALUE);
        assert_eq!(cache.usage().bytes, both / 2 + 8, "the values that were seen count");
        drop(second);
        cache.sweep();
        assert_eq!(cache.usage().bytes, 0);
    }

    #[test]
    fn chunks_that_are_seen_once_do_not_pile_up() {
        let cache = TemplateCache::default();
        for _ in 0..3 * MIN_SWEEP {
            cache.look_up(&chunk(), Stamps::Shared, &VALUE);
        }
        assert!(cache.table.lock().entries.len() <= MIN_SWEEP);
    }

    #[test]
    fn a_chunk_that_is_unfit_is_not_tried_again() {
        let (cache, chunk) = (TemplateCache::default(), chunk());
        cache.put(&chunk, Stamps::Shared, None);
        assert!(matches!(cache.look_up(&chunk, Stamps::Shared, &VALUE), Lookup::Ordinary));
    }

    /// Sends a value that is the number of the send, and says at which sends the template was reviewed. `widen` says which ones widen it.
    fn reviews(sends: u32, widen: impl Fn(u32) -> bool) -> Vec<u32> {
        let (cache, chunk) = (TemplateCache::default(), chunk());
        let template = template(&chunk);
        cache.put(&chunk, Stamps::Shared, Some(template.clone()));
        let mut reviews = Vec::new();
        for send in 1..=sends {
            if let Lookup::Review(_, before, _) = cache.look_up(&chunk, Stamps::Shared, &[f64::from(send)]) {
                assert_eq!(*before, [f64::from(send - REVIEW_SPAN)]);
                reviews.push(send);
                cache.renewed(&chunk, Stamps::Shared, Some(template.clone()));
                assert_eq!(cache.usage().bytes, template.heap_bytes(), "the values are not kept");
            }
            if widen(send) {
                cache.widened(&chunk, Stamps::Shared, Some(template.clone()));
            }
        }
        assert_eq!(cache.usage().built as usize, reviews.len() + 1);
        reviews
    }

    fn steps(reviews: &[u32]) -> Vec<u32> {
        reviews.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    #[test]
    fn a_template_is_looked_through_seldom_with_values_of_some_sends_before() {
        let reviews = reviews(1000, |_| false);
        assert!((FIRST_REVIEW..2 * FIRST_REVIEW).contains(&reviews[0]), "{reviews:?}");
        assert_eq!(steps(&reviews), [256; 3]);
    }

    #[test]
    fn a_template_that_must_be_widened_often_is_looked_through_ever_more_seldom() {
        let quiet_from = 30_000;
        let reviews = reviews(60_000, |send| send < quiet_from && send.is_multiple_of(10));
        let steps = steps(&reviews);
        assert_eq!(steps[..6], [256, 512, 1024, 2048, 4096, 8192]);
        assert!(steps[6..].iter().rev().is_sorted(), "less often no more when it became quiet: {steps:?}");
        assert!(*steps.last().unwrap() < 8192);
    }

    #[test]
    fn a_template_that_is_widened_now_and_then_is_looked_through_as_before() {
        assert_eq!(steps(&reviews(2000, |send| send.is_multiple_of(64))), [256; 7]);
    }

    #[test]
    fn a_widened_template_takes_the_place_of_the_old_one() {
        let (cache, chunk) = (TemplateCache::default(), chunk());
        cache.put(&chunk, Stamps::Shared, Some(template(&chunk)));
        cache.look_up(&chunk, Stamps::Shared, &VALUE);
        let wider = Arc::new(template(&chunk).with(0, template(&chunk).fragment(0).unwrap().widened(&[7.5]).unwrap()));
        cache.widened(&chunk, Stamps::Shared, Some(wider.clone()));
        assert!(matches!(cache.look_up(&chunk, Stamps::Shared, &VALUE), Lookup::Ready(found, 2) if Arc::ptr_eq(&found, &wider)));
        assert_eq!(cache.usage(), TemplateUsage { bytes: wider.heap_bytes(), built: 1, widened: 1 });
        cache.forget(&chunk, Stamps::Shared, &VALUE);
        assert!(matches!(cache.look_up(&chunk, Stamps::Shared, &VALUE), Lookup::Build(_)));
    }
}
