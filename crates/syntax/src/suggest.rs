//! "did you mean …?"

/// The nearest of the known names, as a question, if one is near enough: a third of the letters may differ.
pub(crate) fn did_you_mean<'a>(name: &'a str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(known.into_iter().map(|known| (name, known)))
}

/// The nearest of several (written, known) pairs as a question, if it is near enough: at most a third of the letters differ. Of equally
/// near ones the first in the alphabet, so that messages stay the same.
#[must_use]
pub fn nearest<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<String> {
    let near = pairs.into_iter().filter_map(|(written, known)| {
        let distance = distance(written, known);
        let limit = (written.chars().count() / 3).max(1);
        (distance <= limit && distance > 0).then_some((distance, known))
    });
    near.min().map(|(_, known)| format!("did you mean `{known}`?"))
}

/// Names longer than this are not compared: no name of the language is.
const MAX_NAME: usize = 100;

/// How many letters must be added, dropped, replaced or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().max(b.len()) > MAX_NAME {
        return usize::MAX;
    }
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before_last[j - 2] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::{did_you_mean, distance, nearest};

    #[test]
    fn letters_added_dropped_replaced_or_swapped_count_once_each() {
        for (a, b, expected) in
            [("", "", 0), ("abc", "abc", 0), ("abc", "ab", 1), ("abc", "xabc", 1), ("abc", "axc", 1), ("abc", "acb", 1), ("abc", "", 3)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        let known = ["scrape_interval", "scrape_timeout", "job"];
        assert_eq!(did_you_mean("scrape_intervall", known).as_deref(), Some("did you mean `scrape_interval`?"));
        assert_eq!(did_you_mean("jbo", known).as_deref(), Some("did you mean `job`?"));
        assert_eq!(did_you_mean("targets", known), None);
        assert_eq!(did_you_mean("x", []), None);
        let pairs = |written| ["local.file", "local.fild"].map(|name| (written, name));
        assert_eq!(nearest(pairs("local.fil")).as_deref(), Some("did you mean `local.fild`?"), "ties go by the alphabet");
        assert_eq!(nearest(pairs("local.file")).as_deref(), Some("did you mean `local.fild`?"), "the name itself is no suggestion");
        assert_eq!(did_you_mean(&"j".repeat(10_000), known), None);
    }
}
