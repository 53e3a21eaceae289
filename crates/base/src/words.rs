//! Words that were mistyped: which of those that exist was meant.

/// Letters that are to be added, left out or replaced to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

/// How far the word is from one that exists, if it may be that one, mistyped.
pub fn mistyped(word: &str, known: &str) -> Option<usize> {
    Some(distance(word, known)).filter(|d| *d <= 1 + word.len() / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_near_and_another_word_is_not() {
        let table = [
            ("reviews", "reviews", Some(0)),
            ("reviws", "reviews", Some(1)),
            ("virtualservies", "virtualservices", Some(1)),
            ("pds", "pods", Some(1)),
            ("pds", "jobs", None),
            ("certificates", "services", None),
            ("", "ab", None),
        ];
        for (word, known, expected) in table {
            assert_eq!(mistyped(word, known), expected, "{word} {known}");
        }
    }
}
