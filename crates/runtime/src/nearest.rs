//! "did you mean …?" for names of components and blocks.

/// Names longer than this are not compared: comparing takes time that grows with the square of the length.
const MAX_NAME: usize = 200;

/// The nearest of several (written, known) pairs as a question, if it is near: at most a third of the letters differ. Of equally near ones
/// the first in the alphabet, so that messages stay the same.
pub(crate) fn did_you_mean<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<String> {
    let near = pairs.into_iter().filter_map(|(written, known)| {
        let distance = distance(written, known)?;
        let limit = (written.chars().count() / 3).max(1);
        (distance <= limit && distance > 0).then_some((distance, known))
    });
    near.min().map(|(_, known)| format!("did you mean `{known}`?"))
}

/// How many letters must be added, dropped or replaced.
fn distance(a: &str, b: &str) -> Option<usize> {
    let b: Vec<char> = b.chars().collect();
    if a.chars().count().max(b.len()) > MAX_NAME {
        return None;
    }
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut row = vec![left];
        for (other, steps) in b.iter().zip(last.windows(2)) {
            let [diagonal, above] = steps else { continue };
            left = (diagonal + usize::from(letter != *other)).min(above + 1).min(left + 1);
            row.push(left);
        }
        last = row;
    }
    last.last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_levenshtein() {
        for (a, b, expected) in [("", "", 0), ("abc", "abc", 0), ("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("ab", "ba", 2)]
        {
            assert_eq!(distance(a, b), Some(expected), "{a} {b}");
        }
    }

    #[test]
    fn only_near_names_are_offered_and_ties_go_by_the_alphabet() {
        let known = |written| ["local.file", "local.fild", "prometheus.scrape"].map(|name| (written, name));
        assert_eq!(did_you_mean(known("local.fil")).as_deref(), Some("did you mean `local.fild`?"));
        assert_eq!(did_you_mean(known("prometheus.scrap")).as_deref(), Some("did you mean `prometheus.scrape`?"));
        assert_eq!(did_you_mean(known("otelcol.receiver.otlp")), None);
        assert_eq!(did_you_mean(known("local.file")).as_deref(), Some("did you mean `local.fild`?"));
    }

    #[test]
    fn endless_names_are_not_compared() {
        let long = "a".repeat(MAX_NAME + 1);
        assert_eq!(did_you_mean([(long.as_str(), "a")]), None);
    }
}
