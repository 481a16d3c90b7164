//! What can be wrong with a statement, and where.

use std::fmt;

use crate::syntax::ast::Span;

/// Why a statement is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no statement.
    #[error("{0}")]
    Syntax(Box<Diagnostic>),
    /// The statement is right, and is refused: this engine does not have what it asks for.
    #[error("{0}")]
    Unsupported(Box<Diagnostic>),
    /// A name is unknown, a type does not fit, a clause contradicts another.
    #[error("{0}")]
    Invalid(Box<Diagnostic>),
}

impl Error {
    /// The message, the place and the advice.
    #[must_use]
    pub const fn diagnostic(&self) -> &Diagnostic {
        match self {
            Self::Syntax(diagnostic) | Self::Unsupported(diagnostic) | Self::Invalid(diagnostic) => diagnostic,
        }
    }
}

/// A message about a place in the text of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The statement's name, if it could be read.
    pub statement: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 0 as Esper counts.
    pub column: usize,
    /// How many characters are meant, at least 1.
    pub width: usize,
    /// The line itself.
    pub source_line: String,
}

impl fmt::Display for Diagnostic {
    /// The message with its place, the line with a caret below, the hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} at line {} column {}", self.message, self.line, self.column)?;
        let number = self.line.to_string();
        writeln!(f, "{number} | {}", self.source_line)?;
        // Tabs are kept so that the caret stands below its text.
        let indent: String = self
            .source_line
            .chars()
            .take(self.column)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        write!(
            f,
            "{:width$} | {indent}{}",
            "",
            "^".repeat(self.width),
            width = number.len()
        )?;
        if let Some(hint) = &self.hint {
            write!(f, "\n{:width$} = {hint}", "", width = number.len())?;
        }
        Ok(())
    }
}

/// The kind of a [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// [`Error::Syntax`].
    Syntax,
    /// [`Error::Unsupported`].
    Unsupported,
    /// [`Error::Invalid`].
    Invalid,
}

/// An error before it is told which text it speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) message: String,
    pub(crate) span: Span,
    pub(crate) hint: Option<String>,
}

impl Fault {
    pub(crate) fn syntax(span: Span, message: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            kind: FaultKind::Syntax,
            message: message.into(),
            span,
            hint: None,
        })
    }

    pub(crate) fn invalid(span: Span, message: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            kind: FaultKind::Invalid,
            message: message.into(),
            span,
            hint: None,
        })
    }

    /// A refusal: what is refused, and what to write instead.
    pub(crate) fn unsupported(span: Span, what: impl Into<String>, instead: impl Into<String>) -> Box<Self> {
        let message = format!("{} is not supported", what.into());
        Box::new(Self {
            kind: FaultKind::Unsupported,
            message,
            span,
            hint: Some(instead.into()),
        })
    }

    pub(crate) fn with_hint(mut self: Box<Self>, hint: Option<String>) -> Box<Self> {
        self.hint = hint;
        self
    }

    /// Puts Esper's `Failed to validate .. expression` in front.
    pub(crate) fn within(mut self: Box<Self>, context: &str) -> Box<Self> {
        if self.kind == FaultKind::Invalid {
            self.message = format!("{context}: {}", self.message);
        }
        self
    }

    /// The error as the caller gets it.
    pub(crate) fn locate(self, text: &str, statement: Option<&str>) -> Error {
        let start = floor_char(text, self.span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = floor_char(text, self.span.end).clamp(start, line_end);
        let diagnostic = Box::new(Diagnostic {
            statement: statement.map(str::to_owned),
            message: self.message,
            hint: self.hint,
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count(),
            width: text[start..end].chars().count().max(1),
            source_line: text[line_start..line_end].trim_end_matches('\r').to_owned(),
        });
        match self.kind {
            FaultKind::Syntax => Error::Syntax(diagnostic),
            FaultKind::Unsupported => Error::Unsupported(diagnostic),
            FaultKind::Invalid => Error::Invalid(diagnostic),
        }
    }
}

/// The nearest character boundary at or before an offset.
fn floor_char(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// The candidate most like a misspelt name, if any is like it at all.
pub(crate) fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, candidate)| *distance <= (wanted.len().max(candidate.len()) / 2).clamp(1, 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
