//! The reader of responses: lenient, bounded, and without a tree of unused fields.
//!
//! - Lenient: a field of another form than expected is absent, and hides no other field. Text is decoded lossily.
//! - Bounded: elements and text are counted while they are read ([`Bounds`]), because a small body can contain millions
//!   of elements.
//! - A value that is not used is skipped, not parsed.
//!
//! [`Document`] is a body, [`Json`] a value in it, [`Read`] a type that is read from a value.

mod visitors;

use std::{borrow::Cow, cell::Cell, collections::BTreeMap, ops::ControlFlow};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use self::visitors::{ElementVisitor, FieldVisitor, Key};
use crate::{Error, ErrorKind};

/// The byte order mark of UTF-8.
pub(crate) const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// The escape of the replacement character, which has the length of the escape of a surrogate.
const REPLACEMENT: &[u8] = br"\ufffd";

/// The longest name of a state or code, in bytes. The known ones have at most 40.
const MAX_NAME: usize = 200;

/// The largest numbers of elements and bytes of text that are kept of a response, or of all pages of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Runs, tasks and iterations.
    pub(crate) tasks: usize,
    /// Elements of all arrays and maps.
    pub(crate) elements: usize,
    /// Bytes of text.
    pub(crate) text: usize,
}

impl Bounds {
    /// The bounds of a run, or of a list of runs. A run has at most 1,000 tasks, each with several attempts
    /// (databricks-api.md#runs-submit).
    pub(crate) const RUN: Self = Self { tasks: 10_000, elements: 100_000, text: 8 * 1024 * 1024 };

    /// The bounds of any other response. Its text is bounded by the size of its body.
    pub(crate) const RESPONSE: Self = Self { tasks: 10_000, elements: 500_000, text: usize::MAX };
}

/// What may still be kept of a response.
#[derive(Debug)]
struct Budget {
    left: Cell<Bounds>,
    is_exceeded: Cell<bool>,
}

/// A body as text: UTF-8 without a byte order mark, and without escapes that are no characters.
#[derive(Debug)]
pub(crate) struct Document {
    text: String,
    syntax: Result<(), Invalid>,
    budget: Budget,
}

/// The body is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Invalid {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A value in a document, as text that is valid JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Json<'a> {
    text: &'a str,
    budget: &'a Budget,
}

/// A type that is read from a value.
pub(crate) trait Read: Sized {
    /// Reads the value. Returns `None` if it has another form.
    fn read(json: Json<'_>) -> Option<Self>;
}

impl Document {
    /// Decodes a body lossily.
    pub(crate) fn new(body: Bytes, bounds: Bounds) -> Self {
        // No copy, unless another reference exists.
        let mut body = Vec::from(body);
        if body.starts_with(BYTE_ORDER_MARK) {
            body.drain(..BYTE_ORDER_MARK.len());
        }
        replace_lone_surrogates(&mut body);
        let mut text = String::from_utf8(body)
            .unwrap_or_else(|invalid| String::from_utf8_lossy(invalid.as_bytes()).into_owned());
        let mut syntax = check_syntax(&text);
        if syntax.is_err() && text.contains(is_control) {
            // Control characters are valid in no string; line ends between values are as good as spaces.
            text = text.replace(is_control, " ");
            syntax = check_syntax(&text).or(syntax);
        }
        let budget = Budget { left: Cell::new(bounds), is_exceeded: Cell::new(false) };
        Self { text, syntax, budget }
    }

    /// Returns the whole value.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with the position of the first syntax error.
    pub(crate) fn root(&self) -> Result<Json<'_>, Invalid> {
        self.syntax.map(|()| Json { text: self.text.trim(), budget: &self.budget })
    }

    /// Returns what may still be kept.
    pub(crate) fn left(&self) -> Bounds {
        self.budget.left.get()
    }

    /// True if something was dropped because of the bounds.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.budget.is_exceeded.get()
    }

    /// Returns the decoded text, which need not be JSON.
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

fn check_syntax(text: &str) -> Result<(), Invalid> {
    match serde_json::from_str::<de::IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(Invalid { line: error.line(), column: error.column() }),
    }
}

fn is_control(character: char) -> bool {
    character < ' '
}

/// Replaces the escapes of surrogates that are not part of a pair, because they are no characters.
fn replace_lone_surrogates(body: &mut [u8]) {
    let mut at = 0;
    while let Some(found) = body.get(at..).and_then(|rest| rest.iter().position(|b| *b == b'\\')) {
        at += found;
        at += match escaped_unit(body, at) {
            Some(0xd800..=0xdbff)
                if matches!(escaped_unit(body, at + 6), Some(0xdc00..=0xdfff)) =>
            {
                12
            }
            Some(0xd800..=0xdfff) => {
                if let Some(escape) = body.get_mut(at..at + REPLACEMENT.len()) {
                    escape.copy_from_slice(REPLACEMENT);
                }
                6
            }
            // The second byte can be a backslash that begins no escape.
            _ => 2,
        };
    }
}

/// Returns the code unit of an escape such as `\u00e9` at this position.
fn escaped_unit(body: &[u8], at: usize) -> Option<u16> {
    let digits = body.get(at..at + 6)?.strip_prefix(br"\u")?;
    let digits = std::str::from_utf8(digits).ok()?;
    // `from_str_radix` also accepts a sign.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(())?;
    u16::from_str_radix(digits, 16).ok()
}

impl<'a> Json<'a> {
    /// Reads the value as this type.
    pub(crate) fn read<T: Read>(self) -> Option<T> {
        T::read(self)
    }

    /// True if the value is an object.
    pub(crate) fn is_object(self) -> bool {
        self.text.starts_with('{')
    }

    /// Calls a function with each field of an object. Returns `None` for any other value.
    pub(crate) fn fields(self, mut field: impl FnMut(&str, Self)) -> Option<()> {
        let budget = self.budget;
        let visitor = FieldVisitor(|key: &str, text| {
            field(key, Json { text, budget });
            ControlFlow::Continue(())
        });
        self.visit('{', visitor)
    }

    /// Calls a function with each element of an array, until it breaks. Returns `None` for any other value.
    pub(crate) fn elements(self, mut element: impl FnMut(Self) -> ControlFlow<()>) -> Option<()> {
        let budget = self.budget;
        self.visit('[', ElementVisitor(|text| element(Json { text, budget })))
    }

    fn visit<V: de::Visitor<'a, Value = ()>>(self, start: char, visitor: V) -> Option<()> {
        self.text.starts_with(start).then_some(())?;
        // The text is valid, so the only error is that of a visitor that stops early.
        let _stopped = serde_json::Deserializer::from_str(self.text).deserialize_any(visitor);
        Some(())
    }

    /// Converts a string. Returns `None` for any other value. Not for text of any length, which is not counted.
    pub(crate) fn string<T>(self, convert: impl FnOnce(&str) -> T) -> Option<T> {
        let text = self.text.starts_with('"').then(|| self.text()).flatten()?;
        (text.len() <= MAX_NAME).then(|| convert(&text))
    }

    /// Returns the text of a string, or of a number or truth value.
    fn text(self) -> Option<Cow<'a, str>> {
        match self.text.bytes().next()? {
            b'"' => serde_json::from_str::<Key<'a>>(self.text).ok().map(|Key(text)| text),
            b'{' | b'[' | b'n' => None,
            _ => Some(Cow::Borrowed(self.text)),
        }
    }

    /// Takes one element from the budget. Returns false if there is none left.
    fn take_element(self) -> bool {
        self.take(|left| Some(Bounds { elements: left.elements.checked_sub(1)?, ..left }))
    }

    /// Takes one run, task or iteration from the budget. Returns false if there is none left.
    pub(crate) fn take_task(self) -> bool {
        self.take(|left| Some(Bounds { tasks: left.tasks.checked_sub(1)?, ..left }))
    }

    fn take_text(self, bytes: usize) -> bool {
        self.take(|left| Some(Bounds { text: left.text.checked_sub(bytes)?, ..left }))
    }

    fn take(self, take: impl FnOnce(Bounds) -> Option<Bounds>) -> bool {
        let rest = take(self.budget.left.get());
        match rest {
            Some(rest) => self.budget.left.set(rest),
            None => self.budget.is_exceeded.set(true),
        }
        rest.is_some()
    }

    /// True if something was dropped because of the bounds.
    pub(crate) fn is_exceeded(self) -> bool {
        self.budget.is_exceeded.get()
    }

    /// Accepts that something was dropped: the caller reports it.
    pub(crate) fn accept_exceeded(self) {
        self.budget.is_exceeded.set(false);
    }
}

/// A string. Numbers and truth values are read as text too.
impl Read for String {
    fn read(json: Json<'_>) -> Option<Self> {
        let text = json.text()?;
        json.take_text(text.len()).then(|| text.into_owned())
    }
}

/// A 64-bit integer, as a number or as a decimal string (databricks-api.md#common-rules). Never converted through a double.
impl Read for i64 {
    fn read(json: Json<'_>) -> Option<Self> {
        json.text()?.parse().ok()
    }
}

impl Read for bool {
    fn read(json: Json<'_>) -> Option<Self> {
        json.text()?.parse().ok()
    }
}

/// `None` for null and for a value of another form.
impl<T: Read> Read for Option<T> {
    fn read(json: Json<'_>) -> Option<Self> {
        Some(json.read())
    }
}

/// The elements of an array, without those of another form. Ends at the bound.
impl<T: Read> Read for Vec<T> {
    fn read(json: Json<'_>) -> Option<Self> {
        let mut list = Self::new();
        json.elements(|element| {
            if !element.take_element() {
                return ControlFlow::Break(());
            }
            list.extend(element.read::<T>());
            if element.is_exceeded() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Some(list)
    }
}

/// The fields of an object, without those of another form.
impl<T: Read> Read for BTreeMap<String, T> {
    fn read(json: Json<'_>) -> Option<Self> {
        let mut map = Self::new();
        json.fields(|key, value| {
            if value.take_element()
                && value.take_text(key.len())
                && let Some(value) = value.read()
            {
                map.insert(key.to_owned(), value);
            }
        })?;
        Some(map)
    }
}

/// An object with known fields.
pub(crate) trait Fields: Default {
    /// Sets the field of this key; to its default if the value has another form. Returns false if there is none.
    fn set_field(&mut self, key: &str, value: Json<'_>) -> bool;
}

/// Reads the fields of an object. Returns `None` if the value is none.
pub(crate) fn read_fields<T: Fields>(json: Json<'_>) -> Option<T> {
    let mut object = T::default();
    json.fields(|key, value| {
        object.set_field(key, value);
    })?;
    Some(object)
}

/// Implements [`Fields`]: each field is the key of its name, or of the name after `=`.
macro_rules! read_objects {
    ($($name:ident { $($field:ident $(= $key:literal)?),* $(,)? })*) => {
        $(
            impl $crate::api::json::Fields for $name {
                fn set_field(&mut self, key: &str, value: $crate::api::json::Json<'_>) -> bool {
                    $(
                        if key == $crate::api::json::key!($field $($key)?) {
                            self.$field = value.read().unwrap_or_default();
                            return true;
                        }
                    )*
                    false
                }
            }
        )*
    };
}

/// The key of a field: its name, or another one.
macro_rules! key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

/// Implements [`Read`] for types with [`Fields`].
macro_rules! readable {
    ($($name:ident),* $(,)?) => {
        $(
            impl $crate::api::json::Read for $name {
                fn read(json: $crate::api::json::Json<'_>) -> Option<Self> {
                    $crate::api::json::read_fields(json)
                }
            }
        )*
    };
}

/// Implements `Deserialize` with the reader, for responses that a caller has stored.
macro_rules! deserializable {
    ($($name:ident),* $(,)?) => {
        $(
            impl<'de> serde::Deserialize<'de> for $name {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    $crate::api::json::deserialize(deserializer)
                }
            }
        )*
    };
}

pub(crate) use {deserializable, key, read_objects, readable};

/// Deserializes a type with the reader.
pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: Read>(
    deserializer: D,
) -> Result<T, D::Error> {
    let value = Box::<RawValue>::deserialize(deserializer)?;
    let text = String::from(Box::<str>::from(value));
    let document = Document::new(Bytes::from(text), Bounds::RESPONSE);
    let read = document.root().ok().and_then(Json::read);
    read.ok_or_else(|| de::Error::custom("not of the expected form"))
}

/// Reads a body that must be an object. Returns it with the rest of the bounds.
///
/// # Errors
///
/// `Decode` without the content of the body, `TooLarge` if it exceeds the bounds.
pub(crate) fn read_object<T: Read>(body: Bytes, bounds: Bounds) -> Result<(T, Bounds), Error> {
    read_body(body, bounds, '{')
}

/// Reads a body that must be an array.
///
/// # Errors
///
/// As [`read_object`].
pub(crate) fn read_array<T: Read>(body: Bytes) -> Result<Vec<T>, Error> {
    Ok(read_body(body, Bounds::RESPONSE, '[')?.0)
}

fn read_body<T: Read>(body: Bytes, bounds: Bounds, start: char) -> Result<(T, Bounds), Error> {
    let unexpected =
        |why: String| Error::new(ErrorKind::Decode, format!("unexpected response: {why}"));
    let document = Document::new(body, bounds);
    let root = document.root().map_err(|Invalid { line, column }| {
        unexpected(format!("invalid at line {line}, column {column}"))
    })?;
    if !root.text.starts_with(start) {
        let expected = if start == '{' { "object" } else { "array" };
        return Err(unexpected(format!("not a JSON {expected}")));
    }
    let read = root.read().ok_or_else(|| unexpected("a required field is missing".to_owned()));
    if document.is_exceeded() {
        let text = "the response has more elements than are read";
        return Err(Error::new(ErrorKind::TooLarge, text));
    }
    Ok((read?, document.left()))
}

/// Decodes the content of a file, which is base64.
pub(super) fn file_content(text: &str) -> Result<Bytes, Error> {
    STANDARD.decode(text).map(Bytes::from).map_err(|invalid| {
        Error::new(ErrorKind::Decode, "the content of the file is not base64").with_source(invalid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Read>(body: &[u8]) -> Option<T> {
        let document = Document::new(Bytes::copy_from_slice(body), Bounds::RESPONSE);
        document.root().ok()?.read()
    }

    #[test]
    fn text_is_decoded_lossily() {
        for (body, text) in [
            (&br#""caf\u00e9""#[..], "caf\u{e9}"),
            (b"\"caf\xe9\"", "caf\u{fffd}"),
            (b"\xef\xbb\xbf\"a\"", "a"),
            (br#""\ud800""#, "\u{fffd}"),
            (br#""\ud800\n""#, "\u{fffd}\n"),
            (br#""\udc00\ud83d\ude00\uD83D""#, "\u{fffd}\u{1f600}\u{fffd}"),
            (br#""\\ud800""#, r"\ud800"),
            (br#""\\\ud800""#, "\\\u{fffd}"),
            (b"\"a\x1b\nb\"", "a  b"),
            (b"7", "7"),
            (b"true", "true"),
        ] {
            assert_eq!(read::<String>(body).as_deref(), Some(text), "{body:?}");
        }
        for body in [&b"null"[..], b"[]", b"{}"] {
            assert_eq!(read::<String>(body), None);
        }
        // The escape of a surrogate that is cut off ends the body, which is not JSON.
        assert_eq!(read::<String>(br#""\ud8"#), None);
    }

    #[test]
    fn integers_keep_all_digits_and_other_numbers_are_absent() {
        for body in ["9223372036854775807", "\"9223372036854775807\""] {
            assert_eq!(read::<i64>(body.as_bytes()), Some(i64::MAX));
        }
        for body in ["1.0", "1e3", "1e999", "9223372036854775808", "\"x\"", "null", "[1]"] {
            assert_eq!(read::<i64>(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn elements_of_another_form_are_skipped_and_the_last_duplicate_counts() {
        assert_eq!(read::<Vec<i64>>(b"[1, {}, 2, null]"), Some(vec![1, 2]));
        let map = read::<BTreeMap<String, i64>>(br#"{"a": 1, "b": [], "a": 2}"#);
        assert_eq!(map, Some([("a".to_owned(), 2)].into()));
        assert_eq!(read::<Vec<i64>>(b"{}"), None);
    }

    #[test]
    fn reading_ends_at_the_bound() {
        let bounds = Bounds { tasks: 0, elements: 2, text: 3 };
        for (body, kept) in [("[\"a\",\"b\",\"c\"]", 2), ("[\"abc\",\"d\"]", 1)] {
            let document = Document::new(Bytes::from(body), bounds);
            let list = document.root().unwrap().read::<Vec<String>>();
            assert_eq!((list.map(|list| list.len()), document.is_exceeded()), (Some(kept), true));
        }
    }

    #[test]
    fn deeply_nested_values_are_skipped() {
        let depth = 100_000;
        let body = format!("[{}{}, 7]", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(read::<Vec<i64>>(body.as_bytes()), Some(vec![7]));
    }

    #[test]
    fn syntax_errors_have_a_position() {
        let document = Document::new(Bytes::from("{\n\"a\": }"), Bounds::RESPONSE);
        assert_eq!(document.root().unwrap_err(), Invalid { line: 2, column: 6 });
    }
}
