//! How fields look in JSON.
//!
//! | Type of the element | In JSON |
//! |---|---|
//! | integers, also reduced | number |
//! | floats | number, or `null` for NaN and infinities |
//! | boolean | `true`, `false`; a number if it is neither |
//! | addresses, MAC addresses | text |
//! | string | text without the zero bytes that fill it up; what is not UTF-8 becomes U+FFFD |
//! | moments, also those that count from the exporter's start | number, ms since 1970 |
//! | octetArray, flags wider than 64 bits, elements that are not known, values whose length does not fit their type | text, two hexadecimal digits a byte |
//! | basicList | `{"semantic", "field": name, "values": […]}` |
//! | subTemplateList | `{"semantic", "template", "records": [fields, …]}`; `"bytes"` for records whose template is not known |
//! | subTemplateMultiList | `{"semantic", "entries": [{"template", "records"}, …]}` |
//! | no bytes | `null`, for strings `""` |
//!
//! A field is named after its element; an element that is not known is named `ENTERPRISE:NUMBER`. If a record has an
//! element more than once, its value is an array of all its values, in the order of the wire. Padding is left out.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use netflow_codec::element::{self, DataType, ElementId};
use netflow_codec::list::{BasicList, SubTemplateList, SubTemplateMultiList};
use netflow_codec::record::{self, Record};
use netflow_codec::{DataSet, Header, Message};

use crate::json::Json;

/// `paddingOctets`, which stand for nothing.
const PADDING: ElementId = ElementId::iana(210);

/// `systemInitTimeMilliseconds`
const SYSTEM_INIT: ElementId = ElementId::iana(160);

/// The name of a field.
pub(crate) fn name(element: ElementId) -> Cow<'static, str> {
    element::name(element).unwrap_or_else(|| Cow::Owned(element.to_string()))
}

/// Lists within lists that are followed; further ones are shown as bytes.
const NESTING_LIMIT: u8 = 8;

/// What is needed to show a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'c> {
    /// Knows the templates of lists.
    pub(crate) message: &'c Message<'c>,
    /// The header of the message that brought the record.
    pub(crate) header: &'c Header,
    /// When the exporter started, as far as it has told.
    started_ms: Option<i64>,
    depth: u8,
}

impl<'c> Context<'c> {
    pub(crate) fn new(message: &'c Message<'c>, set: &DataSet<'c>) -> Self {
        Self {
            message,
            header: set.header(),
            started_ms: set.sampling().system_init_ms,
            depth: 0,
        }
    }

    /// The fields of a record as an object.
    pub(crate) fn fields(self, json: &mut Json, record: &Record<'_>) {
        let template = record.template();
        let context = Self {
            started_ms: record.time_ms(SYSTEM_INIT).or(self.started_ms),
            ..self
        };
        json.begin_object();
        for (number, (field, bytes)) in record.fields().enumerate() {
            let element = field.element;
            if element == PADDING || template.position(element) != Some(number) {
                continue; // several of a kind are written with the first
            }
            json.key(&name(element));
            let several = template.positions(element).nth(1).is_some();
            if several {
                json.begin_array();
                for number in template.positions(element) {
                    context.value(json, element, record.at(number).unwrap_or_default());
                }
                json.end_array();
            } else {
                context.value(json, element, bytes);
            }
        }
        json.end_object();
    }

    fn value(self, json: &mut Json, element: ElementId, bytes: &[u8]) {
        if let Some(time_ms) = record::time_ms(element, bytes, self.header, self.started_ms) {
            json.number(time_ms);
            return;
        }
        let data_type = if element.enterprise == ElementId::V9_SCOPE_ENTERPRISE {
            Some(DataType::Unsigned64)
        } else {
            element::data_type(element)
        };
        let Some(data_type) = data_type else {
            json.hex(bytes);
            return;
        };
        if bytes.is_empty() && data_type != DataType::String {
            json.null();
            return;
        }
        if self
            .list(json, data_type, bytes)
            .or_else(|| typed(json, data_type, bytes))
            .is_none()
        {
            json.hex(bytes);
        }
    }

    /// A list; writes nothing if it is none, or lists are nested too deep.
    fn list(self, json: &mut Json, data_type: DataType, bytes: &[u8]) -> Option<()> {
        let inner = Self {
            depth: self.depth + 1,
            ..self
        };
        if inner.depth > NESTING_LIMIT {
            return None;
        }
        match data_type {
            DataType::BasicList => {
                let list = BasicList::new(bytes)?;
                json.begin_object().key("semantic").string(list.semantic.name());
                json.key("field")
                    .string(&name(list.field.element))
                    .key("values")
                    .begin_array();
                for value in list.values() {
                    inner.value(json, list.field.element, value);
                }
                json.end_array().end_object();
            }
            DataType::SubTemplateList => {
                let list = SubTemplateList::new(bytes)?;
                json.begin_object().key("semantic").string(list.semantic.name());
                inner.records(json, &list);
                json.end_object();
            }
            DataType::SubTemplateMultiList => {
                let list = SubTemplateMultiList::new(bytes)?;
                json.begin_object()
                    .key("semantic")
                    .string(list.semantic.name())
                    .key("entries")
                    .begin_array();
                for entry in list.entries() {
                    json.begin_object();
                    inner.records(json, &entry);
                    json.end_object();
                }
                json.end_array().end_object();
            }
            _ => return None,
        }
        Some(())
    }

    /// The records of a list, or their bytes if their template is not known.
    fn records(self, json: &mut Json, list: &SubTemplateList<'_>) {
        json.key("template").number(list.template.0);
        let Some(template) = self.message.template(list.template) else {
            json.key("bytes").hex(list.body());
            return;
        };
        json.key("records").begin_array();
        for record in list.records(template, self.header) {
            self.fields(json, &record);
        }
        json.end_array();
    }
}

/// A value by its type; writes nothing if the bytes do not fit the type.
fn typed(json: &mut Json, data_type: DataType, bytes: &[u8]) -> Option<()> {
    match data_type {
        DataType::Unsigned8
        | DataType::Unsigned16
        | DataType::Unsigned32
        | DataType::Unsigned64
        | DataType::Unsigned256 => json.number(record::unsigned(bytes)?),
        DataType::Signed8 | DataType::Signed16 | DataType::Signed32 | DataType::Signed64 => {
            json.number(record::signed(bytes)?)
        }
        DataType::Float32 | DataType::Float64 => json.float(record::float(bytes)?),
        DataType::Boolean => match record::unsigned(bytes)? {
            1 => json.boolean(true),
            2 => json.boolean(false),
            other => json.number(other),
        },
        DataType::MacAddress => {
            let [a, b, c, d, e, f] = bytes.try_into().ok()?;
            json.plain(format_args!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"))
        }
        DataType::String => {
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            json.string(&String::from_utf8_lossy(bytes.get(..end)?))
        }
        DataType::Ipv4Address | DataType::Ipv6Address => match bytes.len() {
            4 => json.plain(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
            16 => json.plain(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
            _ => return None,
        },
        // Moments come as such, unless their bytes are none.
        DataType::DateTimeSeconds
        | DataType::DateTimeMilliseconds
        | DataType::DateTimeMicroseconds
        | DataType::DateTimeNanoseconds
        | DataType::OctetArray
        | DataType::BasicList
        | DataType::SubTemplateList
        | DataType::SubTemplateMultiList => return None,
    };
    Some(())
}
