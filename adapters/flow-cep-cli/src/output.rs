//! Deliveries as JSON lines: `n` numbers the delivery, `s` is the statement, `t` the engine's time, `k` is `new`, `old` or
//! `empty`, `row` the row.

use std::io::Write;
use std::net::Ipv6Addr;

use anyhow::Result;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMillisecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch, downcast_dictionary_array};
use arrow_schema::{DataType, TimeUnit};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// Writes deliveries and counts them.
#[derive(Debug)]
pub(crate) struct JsonLines<W> {
    writer: W,
    count: u64,
}

impl<W: Write> JsonLines<W> {
    pub(crate) const fn new(writer: W) -> Self {
        Self { writer, count: 0 }
    }

    /// Writes the rows of one delivery; one without rows is a line of kind `empty`.
    pub(crate) fn write(&mut self, statement: &str, time_ms: i64, new: &RecordBatch, old: &RecordBatch) -> Result<()> {
        self.count += 1;
        let mut empty = true;
        for (kind, batch) in [("new", new), ("old", old)] {
            for row in 0..batch.num_rows() {
                empty = false;
                self.write_line(statement, time_ms, kind, Some(Row { batch, row }))?;
            }
        }
        if empty {
            self.write_line(statement, time_ms, "empty", None)?;
        }
        Ok(())
    }

    fn write_line(&mut self, s: &str, t: i64, k: &str, row: Option<Row<'_>>) -> Result<()> {
        let line = Line {
            n: self.count,
            s,
            t,
            k,
            row,
        };
        serde_json::to_writer(&mut self.writer, &line)?;
        self.writer.write_all(b"\n")?;
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<u64> {
        self.writer.flush()?;
        Ok(self.count)
    }
}

#[derive(Serialize)]
struct Line<'l> {
    n: u64,
    s: &'l str,
    t: i64,
    k: &'l str,
    row: Option<Row<'l>>,
}

/// A row of a batch, its columns in the order of the select list.
struct Row<'b> {
    batch: &'b RecordBatch,
    row: usize,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let schema = self.batch.schema_ref();
        let columns = schema.fields().iter().zip(self.batch.columns());
        serializer.collect_map(columns.map(|(field, column)| (field.name(), json_value(column, self.row))))
    }
}

/// JSON has no infinities: they are text, as Java writes them.
fn json_number(value: f64) -> Value {
    if value.is_nan() {
        json!("NaN")
    } else if value.is_infinite() {
        json!(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        json!(value)
    }
}

fn json_value(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Boolean => json!(column.as_boolean().value(row)),
        DataType::Int8 => json!(column.as_primitive::<Int8Type>().value(row)),
        DataType::Int16 => json!(column.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => json!(column.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => json!(column.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => json!(column.as_primitive::<UInt8Type>().value(row)),
        DataType::UInt16 => json!(column.as_primitive::<UInt16Type>().value(row)),
        DataType::UInt32 => json!(column.as_primitive::<UInt32Type>().value(row)),
        DataType::UInt64 => json!(column.as_primitive::<UInt64Type>().value(row)),
        DataType::Float32 => json_number(column.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => json_number(column.as_primitive::<Float64Type>().value(row)),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            json!(column.as_primitive::<TimestampMillisecondType>().value(row))
        }
        DataType::Utf8 => json!(column.as_string::<i32>().value(row)),
        DataType::FixedSizeBinary(16) => {
            let bytes: [u8; 16] = column.as_fixed_size_binary().value(row).try_into().unwrap_or_default();
            json!(Ipv6Addr::from(bytes).to_canonical().to_string())
        }
        DataType::List(_) => {
            let values = column.as_list::<i32>().value(row);
            (0..values.len()).map(|at| json_value(&values, at)).collect()
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(column.as_struct().columns());
            columns
                .map(|(field, column)| (field.name().clone(), json_value(column, row)))
                .collect()
        }
        DataType::Dictionary(..) => downcast_dictionary_array!(
            column => match column.key(row) {
                Some(key) => json_value(column.values(), key),
                None => Value::Null,
            },
            _ => Value::Null
        ),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::UInt8Type;
    use arrow_array::{ArrayRef, DictionaryArray, FixedSizeBinaryArray, Float64Array, RecordBatch};

    use super::JsonLines;

    #[test]
    fn rows_become_lines_and_a_delivery_of_nothing_one_too() {
        let address = FixedSizeBinaryArray::try_from_iter([[0; 16]].iter()).unwrap();
        let text: DictionaryArray<UInt8Type> = ["tcp"].into_iter().collect();
        let batch = RecordBatch::try_from_iter([
            ("x", Arc::new(Float64Array::from(vec![f64::INFINITY])) as ArrayRef),
            ("a", Arc::new(address) as ArrayRef),
            ("p", Arc::new(text) as ArrayRef),
        ])
        .unwrap();
        let mut written = Vec::new();
        let mut lines = JsonLines::new(&mut written);
        lines.write("s", 7, &batch, &batch.slice(0, 0)).unwrap();
        lines.write("s", 8, &batch.slice(0, 0), &batch.slice(0, 0)).unwrap();
        assert_eq!(lines.finish().unwrap(), 2);
        let written: Vec<serde_json::Value> = String::from_utf8(written)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let row = serde_json::json!({"x": "Infinity", "a": "::", "p": "tcp"});
        assert_eq!(
            written[0],
            serde_json::json!({"n": 1, "s": "s", "t": 7, "k": "new", "row": row})
        );
        assert_eq!(
            written[1],
            serde_json::json!({"n": 2, "s": "s", "t": 8, "k": "empty", "row": null})
        );
    }
}
