//! The timely dataflow: what runs on which worker.
//!
//! ```text
//! worker 0        worker 1  …
//! read            read            each along the whole log, unpacking the bundles that no other has taken
//!   ├──────────────┬┴───────────▶ drain           on the last
//! share           share           filter, project, hash the key: the statements' half that runs where the flows are
//!   │  exchange     │
//!   ├───────────────┤
//! part 0          part 1   …      combine, state: the half after the exchange; one part of the statements for each worker but the
//!   │  exchange     │             last, or one
//!   ├───────────────┘
//! publish                         merge, write events and checkpoints: on the first
//! ```
//!
//! The timestamps are the stream's time in ms. Its frontier at a part is the time before which it has all its flows; at `publish`
//! that to which all parts have come.

use std::sync::Arc;
use std::time::Duration;

use flow_cep::spread::Local;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OperatorInfo;
use timely::dataflow::operators::generic::operator::{Operator, source};
use timely::worker::Worker;

use crate::Shared;
use crate::draining::Draining;
use crate::item::{Batch, Flows, FromPart, Item, Share, ToPart};
use crate::part::Part;
use crate::publisher::Publisher;
use crate::reader::Reader;

pub(crate) type Time = u64;
type Output<T> = CapacityContainerBuilder<Vec<T>>;

/// How often operators look at their clocks: whether a checkpoint is due, and what failed at the drain can be tried again.
const TICK: Duration = Duration::from_millis(250);

/// The event type that statements select from.
pub const EVENT_TYPE: &str = "Flow";

pub(crate) fn to_time(ms: i64) -> Time {
    Time::try_from(ms).unwrap_or(0)
}

fn to_ms(time: Time) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// Builds the dataflow on one worker.
pub(crate) fn build(worker: &mut Worker, shared: &Arc<Shared>) {
    worker.dataflow::<Time, _, _>(|scope| {
        let reading = Arc::clone(shared);
        let flows: Stream<'_, Time, Vec<Item>> = source(scope, "Read and resolve", |capability, info: OperatorInfo| {
            let activator = scope.activator_for(info.address);
            let mut reader = Reader::open(reading, scope.index(), capability, activator);
            move |output| reader.turn(|capability, item| output.session(capability).give(item))
        });
        let told = share(flows.clone(), shared);
        publish(run_parts(told, shared), shared);
        drain(flows, shared);
    });
}

/// The statements' half where the flows are: says which parts need which flows of each bundle.
fn share<'s>(flows: Stream<'s, Time, Vec<Item>>, shared: &Arc<Shared>) -> Stream<'s, Time, Vec<ToPart>> {
    let shared = Arc::clone(shared);
    let parts = shared.beginning.spread.parts();
    let mut local = shared.beginning.spread.local(flows.scope().index());
    flows.unary::<Output<ToPart>, _, _, _>(Pipeline, "Share", move |_, _| {
        move |input, output| {
            input.for_each(|capability, items| {
                let mut session = output.session(&capability);
                for item in items.drain(..) {
                    match item {
                        Item::Progress(progress) => {
                            (0..parts).for_each(|part| session.give(ToPart::Progress(part, progress.clone())));
                        }
                        Item::Flows(flows) => match shares(&mut local, &flows) {
                            Ok(shares) => {
                                for share in shares {
                                    shared.departed(share.batch.0.num_rows());
                                    session.give(ToPart::Share(share));
                                }
                            }
                            Err(error) => shared.fail(error.context("statements")),
                        },
                    }
                }
            });
        }
    })
}

fn shares(local: &mut Local, flows: &Flows) -> anyhow::Result<Vec<Share>> {
    let batch = &flows.batch.0;
    let batch = batch.slice(flows.passed, batch.num_rows() - flows.passed);
    if batch.num_rows() == 0 {
        return Ok(Vec::new());
    }
    let shares = local.share(EVENT_TYPE, &batch)?.into_iter().map(|share| Share {
        part: share.part,
        channel: share.channel,
        position: flows.position,
        bundle: (Arc::clone(&flows.probe), flows.sequence),
        anchors: share.anchors,
        rows: share.rows.map(|rows| Arc::from(rows.values().as_ref())),
        batch: Batch(share.batch),
    });
    Ok(shares.collect())
}

/// The statements' half after the exchange: the parts that this worker runs.
fn run_parts<'s>(told: Stream<'s, Time, Vec<ToPart>>, shared: &Arc<Shared>) -> Stream<'s, Time, Vec<FromPart>> {
    let (shared, scope) = (Arc::clone(shared), told.scope());
    let peers = scope.peers();
    let by_part = Exchange::new(|told: &ToPart| told.part() as u64);
    told.unary_frontier::<Output<FromPart>, _, _, _>(by_part, "Combine and state", move |capability, info| {
        let activator = scope.activator_for(info.address);
        let numbers = (scope.index()..shared.beginning.spread.parts()).step_by(peers);
        let parts: anyhow::Result<Vec<Part>> = numbers.map(|number| Part::open(&shared, number)).collect();
        let mut parts = parts.unwrap_or_else(|error| {
            shared.fail(error.context("statements"));
            Vec::new()
        });
        let mut capability = Some(capability);
        move |(input, frontier), output| {
            // What the parts hold after a failure may be of no time of the stream.
            if shared.has_failed() {
                capability = None;
            }
            let Some(held) = &mut capability else {
                input.for_each(|_, told| told.clear());
                return;
            };
            let mut work = || -> anyhow::Result<()> {
                let mut result = Ok(());
                input.for_each(|_, told| {
                    for told in told.drain(..) {
                        if let (Ok(()), Some(part)) = (&result, parts.get_mut(told.part() / peers)) {
                            result = part.take(told);
                        }
                    }
                });
                result?;
                let mut session = output.session(&*held);
                for part in &mut parts {
                    match frontier.frontier().first() {
                        Some(&time) => part.advance(to_ms(time), |given| session.give(given))?,
                        None => part.finish(|given| session.give(given))?,
                    }
                }
                Ok(())
            };
            if let Err(error) = work() {
                shared.fail(error.context("statements"));
            }
            match frontier.frontier().first() {
                Some(time) => {
                    held.downgrade(time);
                    activator.activate_after(TICK);
                }
                None => capability = None,
            }
        }
    })
}

/// Merges what the parts give, on the first worker.
fn publish(given: Stream<'_, Time, Vec<FromPart>>, shared: &Arc<Shared>) {
    let (shared, scope) = (Arc::clone(shared), given.scope());
    let first = Exchange::new(|_: &FromPart| 0);
    given.unary_frontier::<Output<()>, _, _, _>(first, "Publish", move |_, info| {
        let activator = scope.activator_for(info.address);
        let publisher = (scope.index() == 0).then(|| Publisher::open(Arc::clone(&shared)));
        let mut publisher = publisher.transpose().unwrap_or_else(|error| {
            shared.fail(error);
            None
        });
        let mut is_finished = false;
        move |(input, frontier), _| {
            let Some(publisher) = publisher.as_mut() else {
                input.for_each(|_, given| given.clear());
                return;
            };
            input.for_each(|_, given| given.drain(..).for_each(|given| publisher.take(given)));
            let result = match frontier.frontier().first() {
                Some(_) if shared.has_failed() => Ok(()),
                Some(&time) => {
                    activator.activate_after(TICK);
                    publisher.advance(to_ms(time))
                }
                None if !std::mem::replace(&mut is_finished, true) => publisher.finish(),
                None => Ok(()),
            };
            if let Err(error) = result {
                shared.fail(error.context("events"));
            }
        }
    });
}

/// Stores every flow, on the last worker.
fn drain(flows: Stream<'_, Time, Vec<Item>>, shared: &Arc<Shared>) {
    let (shared, scope) = (Arc::clone(shared), flows.scope());
    let last = scope.peers() - 1;
    let to_last = Exchange::new(move |_: &Item| last as u64);
    flows.unary_frontier::<Output<()>, _, _, _>(to_last, "Drain", move |_, info| {
        let activator = scope.activator_for(info.address);
        let mut drain = (scope.index() == last)
            .then(|| Draining::new(Arc::clone(&shared), scope.peers()))
            .flatten();
        move |(input, frontier), _| {
            let Some(drain) = drain.as_mut() else {
                input.for_each(|_, items| items.clear());
                return;
            };
            input.for_each(|_, items| drain.waiting.extend(items.drain(..)));
            let is_finished = frontier.frontier().is_empty();
            match drain.work(is_finished) {
                Ok(true) => activator.activate_after(TICK),
                Ok(false) => {}
                Err(error) => shared.fail(error.context("drain")),
            }
        }
    });
}
