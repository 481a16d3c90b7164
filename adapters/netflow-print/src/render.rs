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
//! | no bytes | `null`, for strings `""` |
//!
//! A field is named after its element; an element that is not known is named `ENTERPRISE:NUMBER`. If a record has an
//! element more than once, its value is an array of all its values, in the order of the wire. Padding is left out.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use netflow_codec::element::{self, DataType, ElementId};
use netflow_codec::record::{self, Record};

use crate::json::Json;

/// `paddingOctets`, which stand for nothing.
const PADDING: ElementId = ElementId::iana(210);

/// The name of a field.
pub(crate) fn name(element: ElementId) -> Cow<'static, str> {
    element::name(element).unwrap_or_else(|| Cow::Owned(element.to_string()))
}

/// The fields of a record as an object.
pub(crate) fn fields(json: &mut Json, record: &Record<'_>) {
    let template = record.template();
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
                value(json, element, record.at(number).unwrap_or_default(), None);
            }
            json.end_array();
        } else {
            value(json, element, bytes, record.time_ms(element));
        }
    }
    json.end_object();
}

/// One value; `time_ms` is the moment that it stands for, where the record tells.
fn value(json: &mut Json, element: ElementId, bytes: &[u8], time_ms: Option<i64>) {
    if let Some(time_ms) = time_ms {
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
    if typed(json, data_type, bytes).is_none() {
        json.hex(bytes);
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
        // Moments of vendors' elements; those of IANA's come as such.
        DataType::DateTimeSeconds => json.number(i128::from(record::unsigned(bytes)?) * 1000),
        DataType::DateTimeMilliseconds | DataType::DateTimeMicroseconds | DataType::DateTimeNanoseconds => {
            json.number(record::unsigned(bytes)?)
        }
        DataType::OctetArray | DataType::BasicList | DataType::SubTemplateList | DataType::SubTemplateMultiList => {
            return None;
        }
    };
    Some(())
}
