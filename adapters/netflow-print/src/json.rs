//! Writes JSON text piece by piece, in the order in which it is told.

use std::fmt::{Display, Write as _};

/// A line of JSON in the making. It puts the commas; that objects and arrays are closed is up to the caller.
#[derive(Debug, Default)]
pub struct Json {
    text: String,
}

impl Json {
    /// An empty line.
    #[must_use]
    pub const fn new() -> Self {
        Self { text: String::new() }
    }

    /// What was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Starts anew, with the memory of the last line.
    pub fn clear(&mut self) {
        self.text.clear();
    }

    /// Opens an object.
    pub fn begin_object(&mut self) -> &mut Self {
        self.open('{')
    }

    /// Closes an object.
    pub fn end_object(&mut self) -> &mut Self {
        self.text.push('}');
        self
    }

    /// Opens an array.
    pub fn begin_array(&mut self) -> &mut Self {
        self.open('[')
    }

    /// Closes an array.
    pub fn end_array(&mut self) -> &mut Self {
        self.text.push(']');
        self
    }

    /// Names the value that follows.
    pub fn key(&mut self, key: &str) -> &mut Self {
        self.string(key);
        self.text.push(':');
        self
    }

    /// A string.
    pub fn string(&mut self, value: &str) -> &mut Self {
        self.separate();
        self.text.push('"');
        for letter in value.chars() {
            match letter {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                control if u32::from(control) < 0x20 => self.push(format_args!("\\u{:04x}", u32::from(control))),
                other => self.text.push(other),
            }
        }
        self.text.push('"');
        self
    }

    /// A string of what displays without characters that need an escape, such as an address.
    pub fn plain(&mut self, value: impl Display) -> &mut Self {
        self.separate();
        self.push(format_args!("\"{value}\""));
        self
    }

    /// Bytes as a string of two hexadecimal digits each.
    pub fn hex(&mut self, bytes: &[u8]) -> &mut Self {
        self.separate();
        self.text.push('"');
        for byte in bytes {
            self.push(format_args!("{byte:02x}"));
        }
        self.text.push('"');
        self
    }

    /// An integer.
    pub fn number(&mut self, value: impl Into<i128>) -> &mut Self {
        self.separate();
        self.push(format_args!("{}", value.into()));
        self
    }

    /// A number with a fraction; what JSON has no number for is `null`.
    pub fn float(&mut self, value: f64) -> &mut Self {
        if !value.is_finite() {
            return self.null();
        }
        self.separate();
        self.push(format_args!("{value:?}"));
        self
    }

    /// True or false.
    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.separate();
        self.text.push_str(if value { "true" } else { "false" });
        self
    }

    /// Nothing known.
    pub fn null(&mut self) -> &mut Self {
        self.separate();
        self.text.push_str("null");
        self
    }

    fn open(&mut self, bracket: char) -> &mut Self {
        self.separate();
        self.text.push(bracket);
        self
    }

    /// A comma, unless the value is the first of its object or array, or follows its key. The last byte tells: a string
    /// ends with its quotation mark.
    fn separate(&mut self) {
        if !matches!(self.text.as_bytes().last(), None | Some(b'{' | b'[' | b':')) {
            self.text.push(',');
        }
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_valid_json() {
        let mut json = Json::new();
        json.begin_object()
            .key("a:{")
            .string("b\"\\\n\u{1}ü[")
            .key("c")
            .begin_array()
            .number(-1)
            .number(u64::MAX);
        json.float(0.5)
            .float(f64::NAN)
            .begin_object()
            .end_object()
            .begin_array()
            .end_array()
            .end_array();
        json.key("d")
            .hex(&[0, 255])
            .key("e")
            .boolean(true)
            .key("f")
            .null()
            .end_object();
        let value: serde_json::Value = serde_json::from_str(json.text()).unwrap();
        let wanted = serde_json::json!({
            "a:{": "b\"\\\n\u{1}ü[",
            "c": [-1, u64::MAX, 0.5, null, {}, []],
            "d": "00ff",
            "e": true,
            "f": null,
        });
        assert_eq!(value, wanted);
    }
}
