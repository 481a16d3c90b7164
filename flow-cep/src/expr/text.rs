//! Matching of text: `like` and `regexp`.

use std::fmt;
use std::hash::{Hash, Hasher};

use regex::Regex;

/// Largest compiled size of a regular expression: enough for any pattern over host and service names, and a bound on what a
/// hostile one can take.
const REGEXP_SIZE_LIMIT: usize = 1 << 20;

/// One element of a `like` pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum LikePart {
    /// `%`.
    AnyRun,
    /// `_`.
    AnyOne,
    /// This character.
    Exactly(char),
}

/// A compiled `like` pattern: `%` stands for any run of characters, `_` for one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Like {
    parts: Vec<LikePart>,
}

impl Like {
    /// Compiles a pattern; the escape character makes the next one stand for itself.
    #[must_use]
    pub fn new(pattern: &str, escape: Option<char>) -> Self {
        let mut parts = Vec::new();
        let mut characters = pattern.chars();
        while let Some(character) = characters.next() {
            let part = match character {
                _ if Some(character) == escape => LikePart::Exactly(characters.next().unwrap_or(character)),
                '%' if parts.last() == Some(&LikePart::AnyRun) => continue,
                '%' => LikePart::AnyRun,
                '_' => LikePart::AnyOne,
                _ => LikePart::Exactly(character),
            };
            parts.push(part);
        }
        Self { parts }
    }

    /// Whether the whole text matches, in time proportional to text times pattern.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut part) = (0, 0);
        // Where to go on when what followed the last `%` did not fit.
        let mut retry: Option<(usize, usize)> = None;
        while at < text.len() {
            match self.parts.get(part) {
                Some(LikePart::AnyRun) => {
                    retry = Some((at, part + 1));
                    part += 1;
                    continue;
                }
                Some(LikePart::AnyOne) => {
                    at += 1;
                    part += 1;
                    continue;
                }
                Some(LikePart::Exactly(character)) if text.get(at) == Some(character) => {
                    at += 1;
                    part += 1;
                    continue;
                }
                _ => {}
            }
            let Some((from, after)) = retry else { return false };
            at = from + 1;
            part = after;
            retry = Some((at, after));
        }
        self.parts.iter().skip(part).all(|part| *part == LikePart::AnyRun)
    }
}

/// A compiled regular expression that must match the whole text; compared by its source.
#[derive(Clone)]
pub struct Pattern {
    source: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles a regular expression.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(source: &str) -> Result<Self, String> {
        let anchored = format!("^(?:{source})$");
        let regex = regex::RegexBuilder::new(&anchored)
            .size_limit(REGEXP_SIZE_LIMIT)
            .dot_matches_new_line(false)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            source: source.to_owned(),
            regex,
        })
    }

    /// Whether the whole text matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.source).finish()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_knows_runs_single_characters_and_escapes() {
        for (pattern, text, expected) in [
            ("A%", "ABC", true),
            ("A%", "BA", false),
            ("%b%c", "abbc", true),
            ("%b%c", "abcd", false),
            ("a_c", "abc", true),
            ("a_c", "ac", false),
            ("%", "", true),
            ("", "", true),
            ("", "a", false),
            ("a!%", "a%", true),
            ("a!%", "ab", false),
            ("%aab", "aaaab", true),
        ] {
            assert_eq!(
                Like::new(pattern, Some('!')).matches(text),
                expected,
                "{text} like {pattern}"
            );
        }
    }

    #[test]
    fn regexp_matches_the_whole_text() {
        let pattern = Pattern::new("a|bc+").unwrap();
        assert!(pattern.matches("bcc"));
        assert!(!pattern.matches("abc"));
        assert!(Pattern::new("(").is_err());
    }
}
