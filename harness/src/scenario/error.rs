//! Errors that point at the line.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// A scenario is wrong, or cannot be played.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ScenarioError {
    /// What is wrong.
    pub message: String,
    /// The scenario's file, as it was named.
    pub file: String,
    /// Line and column, from 1; none if the error has no place.
    pub place: Option<(usize, usize)>,
    rendered: String,
}

impl ScenarioError {
    pub(super) fn new(
        file: &str,
        text: &str,
        span: Option<Range<usize>>,
        message: impl Into<String>,
    ) -> Self {
        let message = message.into();
        let span = span.map(|s| s.start.min(text.len())..s.end.min(text.len()).max(s.start.min(text.len())));
        let place = span.as_ref().map(|s| {
            let before = text.get(..s.start).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let col = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            (line, col)
        });
        let title = Level::ERROR.primary_title(message.as_str());
        let rendered = match span {
            Some(span) => {
                let snippet = Snippet::source(text).path(file).annotation(AnnotationKind::Primary.span(span));
                Renderer::plain().render(&[title.element(snippet)])
            }
            None => Renderer::plain().render(&[annotate_snippets::Group::with_title(title)]),
        };
        Self { message, file: file.to_owned(), place, rendered }
    }

    /// The error with the lines that it is about.
    #[must_use]
    pub fn render(&self) -> &str {
        &self.rendered
    }
}

impl std::fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.place {
            Some((line, col)) => write!(f, "{}:{line}:{col}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

impl std::error::Error for ScenarioError {}
