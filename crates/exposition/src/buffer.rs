//! A label set under construction: names and values in one reused text, so that learning a series costs few allocations.

use std::ops::Range;

/// A name that occurs more than once among labels with values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("label {name:?} occurs twice")]
pub struct DuplicateLabel {
    /// The name.
    pub name: Box<str>,
}

/// Labels in one text. Values may be empty here: with `honor_labels` an empty exposed value keeps the target's label away.
#[derive(Debug, Default, Clone)]
pub struct LabelBuffer {
    text: String,
    pairs: Vec<(Range<u32>, Range<u32>)>,
}

impl LabelBuffer {
    /// Forgets all labels and keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.pairs.clear();
    }

    /// Adds a label at the end, whatever is there already.
    pub fn push(&mut self, name: &str, value: &str) {
        let name = self.append(name);
        let value = self.append(value);
        self.pairs.push((name, value));
    }

    /// Adds a label whose texts are still escaped as in the exposition format.
    pub(crate) fn push_escaped(&mut self, name: &str, value: &str) {
        let name = self.append_unescaped(name);
        let value = self.append_unescaped(value);
        self.pairs.push((name, value));
    }

    /// Puts the labels into name order.
    ///
    /// # Errors
    /// [`DuplicateLabel`] if a name occurs twice. As in Prometheus, one empty value among them takes all labels of that name away
    /// instead; they stay as one label with an empty value.
    pub fn sort(&mut self) -> Result<(), DuplicateLabel> {
        let text = &self.text;
        let of = |range: &Range<u32>| &text[range.start as usize..range.end as usize];
        self.pairs.sort_by(|a, b| of(&a.0).cmp(of(&b.0)).then_with(|| of(&a.1).len().cmp(&of(&b.1).len())));
        // Empty values sort first among equal names, so a name's first label decides.
        if let Some(group) = self.pairs.chunk_by(|a, b| of(&a.0) == of(&b.0)).find(|group| group.len() > 1 && !group[0].1.is_empty()) {
            return Err(DuplicateLabel { name: of(&group[0].0).into() });
        }
        self.pairs.dedup_by(|later, first| of(&later.0) == of(&first.0));
        Ok(())
    }

    /// All labels as (name, value), in the order of the last [`LabelBuffer::sort`].
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.pairs.iter().map(|(name, value)| (self.of(name), self.of(value)))
    }

    /// The value of `name`, empty or not, if it is there. Looks at every label: sets are small.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// How many labels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    fn of(&self, range: &Range<u32>) -> &str {
        &self.text[range.start as usize..range.end as usize]
    }

    fn append(&mut self, text: &str) -> Range<u32> {
        let start = self.text.len() as u32; // lines are bounded far below 4 GiB
        self.text.push_str(text);
        start..self.text.len() as u32
    }

    fn append_unescaped(&mut self, text: &str) -> Range<u32> {
        let start = self.text.len() as u32;
        unescape_into(&mut self.text, text);
        start..self.text.len() as u32
    }
}

/// Appends `text` with `\\`, `\"` and `\n` resolved; other escapes stay as they are, as in Prometheus.
pub(crate) fn unescape_into(out: &mut String, mut text: &str) {
    while let Some(at) = memchr::memchr(b'\\', text.as_bytes()) {
        out.push_str(&text[..at]);
        let (resolved, used) = match text.as_bytes().get(at + 1) {
            Some(b'n') => ("\n", 2),
            Some(b'"') => ("\"", 2),
            Some(b'\\') => ("\\", 2),
            _ => ("\\", 1),
        };
        out.push_str(resolved);
        text = &text[at + used..];
    }
    out.push_str(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(labels: &[(&str, &str)]) -> LabelBuffer {
        let mut buffer = LabelBuffer::default();
        for (name, value) in labels {
            buffer.push(name, value);
        }
        buffer
    }

    #[test]
    fn labels_come_out_in_name_order() {
        let mut labels = buffer(&[("b", "2"), ("a", "1"), ("c", "")]);
        labels.sort().unwrap();
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2"), ("c", "")]);
        assert_eq!(labels.get("c"), Some(""));
        assert_eq!(labels.get("d"), None);
    }

    #[test]
    fn a_name_twice_is_refused() {
        let error = buffer(&[("b", "2"), ("a", "1"), ("b", "2")]).sort().unwrap_err();
        assert_eq!(error.to_string(), "label \"b\" occurs twice");
    }

    #[test]
    fn an_empty_value_takes_all_of_its_name_away() {
        let mut after = buffer(&[("a", ""), ("a", "x"), ("b", "1"), ("b", "2")]);
        assert!(after.sort().is_err(), "the next name is looked at all the same");
        for values in [["x", "", "y"], ["", "x", "y"], ["x", "y", ""], ["", "", "x"]] {
            let mut labels = buffer(&[("b", values[0]), ("b", values[1]), ("b", values[2]), ("c", "1")]);
            labels.sort().unwrap();
            assert_eq!(labels.iter().collect::<Vec<_>>(), [("b", ""), ("c", "1")]);
        }
    }

    #[test]
    fn only_the_three_escapes_of_the_format_are_resolved() {
        let mut labels = LabelBuffer::default();
        labels.push_escaped("n", r#"a\"b\\n\n\t\"#);
        assert_eq!(labels.iter().next(), Some(("n", "a\"b\\n\n\\t\\")));
    }

    #[test]
    fn clearing_forgets_everything() {
        let mut labels = buffer(&[("a", "1")]);
        labels.clear();
        labels.push("b", "2");
        assert_eq!((labels.len(), labels.get("a"), labels.get("b")), (1, None, Some("2")));
    }
}
