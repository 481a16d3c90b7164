//! Complex-event statements in a subset of EPL over Arrow record batches.
//!
//! Statements such as `select src, sum(bytes) from Flow#time(60 sec) group by src output snapshot every 10 sec` are parsed
//! ([`parse`]), planned against event types ([`plan::Planner`]) and run by an [`Engine`] that is pushed record batches and gives
//! deliveries: rows that have become true, and rows that no longer are. What a statement means is what Esper 8.9 does with it.
//!
//! Any Arrow schema is an event type ([`event_type::EventType`]).
//!
//! ```
//! use std::sync::Arc;
//!
//! use arrow_array::{Int64Array, RecordBatch, StringArray};
//! use flow_cep::event_type::EventType;
//! use flow_cep::plan::Planner;
//! use flow_cep::value::Value;
//! use flow_cep::{Engine, Limits, parse};
//!
//! let batch = RecordBatch::try_from_iter([
//!     ("time", Arc::new(Int64Array::from(vec![1000, 1200, 1900])) as _),
//!     ("src", Arc::new(StringArray::from(vec!["a", "b", "a"])) as _),
//!     ("bytes", Arc::new(Int64Array::from(vec![10, 20, 30])) as _),
//! ])?;
//! let flow = EventType::new("Flow", batch.schema(), Some("time"))?;
//!
//! let text = "@name('talkers') select src, sum(bytes) as total from Flow#time_batch(1 sec) group by src order by sum(bytes) desc limit 1";
//! let mut planner = Planner::new([flow]);
//! let mut plans = Vec::new();
//! for statement in &parse(text)?.statements {
//!     plans.push(planner.plan(statement, text)?);
//! }
//! let mut engine = Engine::new(Arc::new(planner.catalog().clone()), &plans, 1000, Limits::default());
//!
//! engine.push("Flow", &batch)?;
//! engine.advance(2000); // the batch of one second that began with the first row ends
//! let delivery = engine.next_output().ok_or("nothing was delivered")?;
//! assert_eq!(delivery.time_ms, 2000);
//! assert_eq!(delivery.new.values(0), [Value::text("a"), Value::Long(40)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ## What it leaves out
//!
//! It never reads a clock, opens a file or starts a thread: time is in the rows and in [`Engine::advance`]. It knows nothing of
//! NetFlow; addresses, ports and flags are columns like others. What of EPL is refused, refusal by refusal, is in `docs/EPL.md`.
#![forbid(unsafe_code)]

mod column;
pub mod engine;
mod error;
pub mod event_type;
pub mod expr;
pub mod plan;
mod row;
pub mod spread;
pub mod syntax;
pub mod value;

pub use engine::{Delivery, Engine, EngineError, Execution, Limits, Refusal, Rows};
pub use error::{Diagnostic, Error};
pub use spread::Spread;
pub use syntax::{parse, parse_each};
