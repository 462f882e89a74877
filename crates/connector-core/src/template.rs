//! Renders Flyte's template variables, such as `{{.inputs.day}}` and `{{.outputPrefix}}`, in text that a user wrote. Pure.
//!
//! A [`Template`] is text, parsed once into its [`Segment`]s; [`Variables`] are the values of an attempt. A rendered value
//! is never rendered again: input values cannot refer to variables.
//!
//! A reference is `{{.name}}`, with spaces allowed inside the braces. Case matters only in the names of inputs
//! (flyte-contract.md#createtask). Braces without the dot are text: other systems have references of this form.
//!
//! ```
//! use connector_core::{CreateContext, Error, template::{Template, Variables}};
//!
//! /// Returns the command of a task, for a service that runs commands.
//! fn command(cx: &CreateContext, written: &str) -> Result<String, Error> {
//!     let rendered = Template::parse(written).render(&Variables::of_request(cx));
//!     rendered.map_err(|error| Error::invalid_task(format!("`command` {error}")))
//! }
//!
//! let mut variables = Variables::default();
//! variables.insert("inputs.day", "2026-01-02");
//! let day = Template::parse("report --day {{ .inputs.day }} {{job.id}}");
//! assert_eq!(day.render(&variables).unwrap(), "report --day 2026-01-02 {{job.id}}");
//! let month = Template::parse("report --month {{.inputs.month}}");
//! let error = month.render(&variables).unwrap_err();
//! assert_eq!(error.to_string(), "uses `inputs.month`, which has no value");
//! ```
//!
//! Text that is one reference and nothing else can take a value of another type than text:
//!
//! ```
//! use connector_core::{flyteidl2::task::Inputs, literal, serde_json::Value, template::Template};
//!
//! /// Returns the JSON value of the input that the text names, if the text names an input and nothing else.
//! fn typed(inputs: &Inputs, text: &str) -> Option<Value> {
//!     let template = Template::parse(text);
//!     let name = template.as_reference()?.input()?;
//!     let input = inputs.literals.iter().find(|input| input.name == name)?;
//!     literal::to_json(input.value.as_ref()?)
//! }
//! ```

mod variables;

use std::fmt;

pub use self::variables::Variables;

/// A text and the references in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template<'a> {
    segments: Vec<Segment<'a>>,
}

/// A part of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment<'a> {
    /// Text to keep as it is.
    Text(&'a str),
    /// A reference to replace by a value.
    Reference(Reference<'a>),
}

/// A reference to a variable, as the user wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference<'a> {
    source: &'a str,
    name: &'a str,
}

impl<'a> Template<'a> {
    /// Parses a text. Takes time linear in its length.
    pub fn parse(text: &'a str) -> Self {
        let mut segments = Vec::new();
        let mut rest = text;
        // Where to look for the next reference in `rest`.
        let mut at = 0;
        while let Some(found) = rest.get(at..).and_then(|tail| tail.find("{{")) {
            let start = at.saturating_add(found);
            let Some((before, tail)) = rest.split_at_checked(start) else { break };
            let Some((reference, after)) = Reference::at_start_of(tail) else {
                // Of more than two braces, the last two open a reference.
                at = start.saturating_add(1);
                continue;
            };
            if !before.is_empty() {
                segments.push(Segment::Text(before));
            }
            segments.push(Segment::Reference(reference));
            (rest, at) = (after, 0);
        }
        if !rest.is_empty() {
            segments.push(Segment::Text(rest));
        }
        Self { segments }
    }

    /// Returns the parts of the text, in order. Their sources, joined, are the text.
    pub fn segments(&self) -> &[Segment<'a>] {
        &self.segments
    }

    /// Returns the references, in order.
    pub fn references(&self) -> impl Iterator<Item = Reference<'a>> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Reference(reference) => Some(*reference),
            Segment::Text(_) => None,
        })
    }

    /// Returns the reference if the text is one reference and nothing else.
    pub fn as_reference(&self) -> Option<Reference<'a>> {
        match self.segments.as_slice() {
            [Segment::Reference(reference)] => Some(*reference),
            _ => None,
        }
    }

    /// Replaces every reference by its value.
    ///
    /// # Errors
    ///
    /// [`RenderError`] if any reference has no value or no text.
    pub fn render(&self, variables: &Variables) -> Result<String, RenderError> {
        let mut error = RenderError { missing: Vec::new(), without_text: Vec::new() };
        for reference in self.references() {
            let names = match variables.get(reference) {
                Lookup::Text(_) => continue,
                Lookup::Missing => &mut error.missing,
                Lookup::WithoutText => &mut error.without_text,
            };
            if !names.iter().any(|name| name == reference.name) {
                names.push(reference.name.to_owned());
            }
        }
        if error.names().next().is_some() {
            return Err(error);
        }
        Ok(self.render_known(variables))
    }

    /// Replaces the references that have a text, and keeps the others as they are.
    pub fn render_known(&self, variables: &Variables) -> String {
        let text = |segment: &Segment<'a>| match *segment {
            Segment::Text(text) => text.to_owned(),
            Segment::Reference(reference) => match variables.get(reference) {
                Lookup::Text(text) => text.to_owned(),
                Lookup::Missing | Lookup::WithoutText => reference.source.to_owned(),
            },
        };
        self.segments.iter().map(text).collect()
    }
}

impl<'a> Reference<'a> {
    /// Returns the reference that the text starts with, and the text after it.
    fn at_start_of(text: &'a str) -> Option<(Self, &'a str)> {
        let opened = text.strip_prefix("{{")?;
        let (inside, _) = opened.split_once(['{', '}'])?;
        let after = opened.strip_prefix(inside)?.strip_prefix("}}")?;
        let name = inside.trim().strip_prefix('.').filter(|name| !name.is_empty())?;
        let source = text.strip_suffix(after)?;
        Some((Self { source, name }, after))
    }

    /// Returns the reference as written, with its braces.
    pub fn source(self) -> &'a str {
        self.source
    }

    /// Returns the name as written, such as `inputs.day` or `outputPrefix`.
    pub fn name(self) -> &'a str {
        self.name
    }

    /// Returns the name of the input, if the reference names one.
    pub fn input(self) -> Option<&'a str> {
        input_of(self.name)
    }

    /// True if the reference names this variable, such as `outputPrefix` or `inputs.day`.
    pub fn is(self, name: &str) -> bool {
        key_of(self.name) == key_of(name)
    }
}

impl fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.source)
    }
}

/// The value of a reference.
enum Lookup<'a> {
    Text(&'a str),
    /// There is no variable of this name.
    Missing,
    /// The variable is an input whose type has no text.
    WithoutText,
}

/// References of a text that cannot be rendered, by name as the user wrote them.
///
/// The message continues a sentence about the text, such as "`command` uses `inputs.day`, which has no value".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderError {
    missing: Vec<String>,
    without_text: Vec<String>,
}

impl RenderError {
    /// Returns the names that no variable has.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Returns the names of inputs whose types have no text.
    pub fn without_text(&self) -> &[String] {
        &self.without_text
    }

    /// Returns all names: first the missing ones.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.missing.iter().chain(&self.without_text).map(String::as_str)
    }
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (names, reason) in
            [(&self.missing, "which has no value"), (&self.without_text, "whose type has no text")]
        {
            for name in names {
                write!(f, "{separator}uses `{name}`, {reason}")?;
                separator = "; ";
            }
        }
        Ok(())
    }
}

impl std::error::Error for RenderError {}

fn input_of(name: &str) -> Option<&str> {
    let (kind, input) = name.split_once('.')?;
    kind.eq_ignore_ascii_case("inputs").then_some(input)
}

/// Returns the form of a name that is equal for equal names: only names of inputs are case-sensitive
/// (flyte-contract.md#createtask).
fn key_of(name: &str) -> String {
    match input_of(name) {
        Some(input) => format!("inputs.{input}"),
        None => name.to_ascii_lowercase(),
    }
}
