//! The strings of a request of remote write 2.0, each once, in the order in which they were asked for. Series name them by their places.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::wire;

/// Places below this fit into the two bytes that templates have for them.
pub(super) const MAX_TEMPLATE_PLACES: usize = 1 << 14;

/// An emptied table keeps the memory of texts of this size.
const KEEP: usize = 1 << 18;

/// See the module.
pub(super) struct Symbols {
    /// `Request.symbols` fields.
    fields: Vec<u8>,
    table: HashTable<Entry>,
    hasher: DefaultHashBuilder,
}

struct Entry {
    hash: u64,
    /// Where the text is in the fields.
    start: u32,
    len: u32,
    place: u32,
}

/// A state to go back to.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    fields: usize,
    places: usize,
}

impl Default for Symbols {
    /// A table with the empty string in the first place, as the protocol wants it.
    fn default() -> Self {
        let mut symbols = Self { fields: Vec::new(), table: HashTable::new(), hasher: DefaultHashBuilder::default() };
        symbols.place("");
        symbols
    }
}

impl Symbols {
    /// The place of `text`, which gets one if it has none. The texts together must stay below 4 GiB.
    pub fn place(&mut self, text: &str) -> u32 {
        let Self { fields, table, hasher } = self;
        let hash = hasher.hash_one(text.as_bytes());
        if let Some(entry) = table.find(hash, |entry| entry.hash == hash && entry.text(fields) == text.as_bytes()) {
            return entry.place;
        }
        let place = table.len() as u32;
        wire::put_symbol(fields, text);
        let entry = Entry { hash, start: (fields.len() - text.len()) as u32, len: text.len() as u32, place };
        table.insert_unique(hash, entry, |entry| entry.hash);
        place
    }

    /// An empty table that keeps this one's memory, unless that is unusually large.
    pub fn emptied(mut self) -> Self {
        if self.fields.capacity() > KEEP {
            return Self::default();
        }
        self.table.clear();
        self.fields.clear();
        self.place("");
        self
    }

    /// The strings as they are sent.
    pub fn fields(&self) -> &[u8] {
        &self.fields
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// The state as it is now.
    pub fn mark(&self) -> Mark {
        Mark { fields: self.fields.len(), places: self.table.len() }
    }

    /// Forgets what came since the mark.
    pub fn rewind(&mut self, mark: Mark) {
        if self.table.len() > mark.places {
            self.table.retain(|entry| (entry.place as usize) < mark.places);
            self.fields.truncate(mark.fields);
        }
    }
}

impl Entry {
    fn text<'a>(&self, fields: &'a [u8]) -> &'a [u8] {
        &fields[self.start as usize..(self.start + self.len) as usize]
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use proto::write_v2::Request;

    use super::*;

    fn texts(symbols: &Symbols) -> Vec<String> {
        Request::decode(symbols.fields()).unwrap().symbols
    }

    #[test]
    fn the_first_string_is_empty_and_each_is_there_once() {
        let mut symbols = Symbols::default();
        let long = "x".repeat(300);
        assert_eq!(["a", "", &long, "a", "b", &long].map(|text| symbols.place(text)), [1, 0, 2, 1, 3, 2]);
        assert_eq!(texts(&symbols), ["", "a", &long, "b"]);
        assert_eq!(symbols.len(), 4);
    }

    #[test]
    fn an_emptied_table_begins_anew() {
        let mut symbols = Symbols::default();
        symbols.place("a");
        symbols.place(&"x".repeat(KEEP));
        for _ in 0..2 {
            symbols = symbols.emptied();
            assert_eq!((symbols.place("b"), texts(&symbols)), (1, vec![String::new(), "b".to_owned()]));
        }
    }

    #[test]
    fn what_came_since_a_mark_can_be_forgotten() {
        let mut symbols = Symbols::default();
        symbols.place("a");
        let mark = symbols.mark();
        for i in 0..1000 {
            symbols.place(&format!("s{i}"));
        }
        symbols.rewind(mark);
        assert_eq!(texts(&symbols), ["", "a"]);
        assert_eq!(["b", "a", "s5"].map(|text| symbols.place(text)), [2, 1, 3]);
        assert_eq!(texts(&symbols), ["", "a", "b", "s5"]);
    }
}
