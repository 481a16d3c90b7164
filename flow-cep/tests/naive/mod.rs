//! A naive interpreter of statements, the second witness beside the recordings.
//!
//! It takes the parsed statement and nothing else of the engine. Rows come one at a time; a window is a list of rows, an
//! aggregate goes through all rows of its group each time it is asked for, an expression is evaluated by walking its tree. What
//! it does not know it refuses, with the reason. Rows of a delivery come in no particular order unless the statement orders
//! them.

mod aggregate;
mod expr;
mod instance;
mod output;
mod select;
mod value;
mod window;

use std::rc::Rc;

use flow_cep::syntax::ast::{Body, ContextKind, Expr, Ident, Module, Statement};

use expr::{Event, Names, Scope, check, eval};
use instance::Instance;
use output::Clause;
use select::Plan;
pub(crate) use value::V;

/// What a statement gives at an instant.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) time: i64,
    pub(crate) new: Vec<Vec<V>>,
    pub(crate) old: Vec<Vec<V>>,
}

/// A context that partitions the stream: its conditions and its keys.
#[derive(Debug)]
struct Keyed {
    conditions: Vec<Expr>,
    keys: Vec<Ident>,
}

/// A statement at work.
#[derive(Debug)]
pub(crate) struct Naive {
    plan: Plan,
    clause: Option<Clause>,
    context: Option<Keyed>,
    names: Names,
    /// Instances by the values of the context's keys.
    instances: Vec<(Vec<V>, Instance)>,
    now: i64,
    arrived: usize,
    pub(crate) deliveries: Vec<Delivery>,
}

fn keyed(module: &Module, name: &Ident) -> Result<Keyed, String> {
    let mut definitions = module.statements.iter().filter_map(|statement| match &statement.body {
        Body::CreateContext(context) if context.name == *name => Some(&context.kind),
        _ => None,
    });
    match definitions.next() {
        Some(ContextKind::Keyed { streams, end: None }) => match streams.as_slice() {
            [stream] if stream.from.name.name == "Flow" => Ok(Keyed {
                conditions: stream.from.conditions.clone(),
                keys: stream.keys.clone(),
            }),
            _ => Err("a context of several streams".to_owned()),
        },
        _ => Err("this kind of context".to_owned()),
    }
}

impl Naive {
    /// Takes up a statement of a module over events of one type `Flow`.
    ///
    /// # Errors
    /// When the interpreter does not know something that the statement uses; the text says what.
    pub(crate) fn new(statement: &Statement, module: &Module, columns: &[&str], start: i64) -> Result<Self, String> {
        let Body::Select(select) = &statement.body else {
            return Err("this kind of statement".to_owned());
        };
        let names = Names {
            columns: Rc::new(columns.iter().map(|&column| column.to_owned()).collect()),
            streams: vec!["Flow".to_owned()],
        };
        let context = statement.context.as_ref().map(|name| keyed(module, name)).transpose()?;
        let mut constant = Vec::new();
        if let Some(context) = &context {
            context
                .conditions
                .iter()
                .try_for_each(|condition| check(condition, &names))?;
            for key in &context.keys {
                constant.push(names.resolve(&[&key.name]).ok_or("this key")?);
            }
            if select.from.len() > 1 {
                return Err("a join in a context".to_owned());
            }
        }
        let plan = Plan::of(select, &names.columns, &constant)?;
        let clause = select
            .output
            .as_ref()
            .map(|output| Clause::of(output, &plan))
            .transpose()?;
        let instances = match context {
            Some(_) => Vec::new(),
            None => vec![(Vec::new(), Instance::new(&plan, clause.as_ref()))],
        };
        Ok(Self {
            plan,
            clause,
            context,
            names,
            instances,
            now: start,
            arrived: 0,
            deliveries: Vec::new(),
        })
    }

    pub(crate) fn columns(&self) -> &[String] {
        &self.plan.column_names
    }

    /// Time passes: whatever is due on the way happens at its own time.
    pub(crate) fn advance(&mut self, to: i64) {
        loop {
            let due = self.instances.iter().filter_map(|(_, instance)| instance.due()).min();
            let Some(due) = due.filter(|due| *due <= to) else { break };
            self.now = self.now.max(due);
            for (_, instance) in &mut self.instances {
                if instance.due().is_some_and(|due| due <= self.now) {
                    instance.fire(&self.plan, self.now);
                }
            }
            self.collect();
        }
        self.now = self.now.max(to);
    }

    /// A row arrives, after the time has come to its own.
    pub(crate) fn event(&mut self, values: Vec<V>, time: i64) {
        self.advance(time);
        let event = Rc::new(Event {
            number: self.arrived,
            values,
        });
        self.arrived += 1;
        let at = match &self.context {
            None => 0,
            Some(context) => {
                let tuple = [Some(event.clone())];
                let scope = Scope {
                    names: &self.names,
                    now: self.now,
                    tuple: &tuple,
                    rows: &[],
                    unbounded: false,
                };
                if !context
                    .conditions
                    .iter()
                    .all(|condition| eval(condition, scope).is_true())
                {
                    return;
                }
                let place = |key: &Ident| self.names.resolve(&[&key.name]).map_or(0, |(_, column)| column);
                let key: Vec<V> = context
                    .keys
                    .iter()
                    .map(|key| event.values[place(key)].clone())
                    .collect();
                self.instances
                    .iter()
                    .position(|(held, _)| *held == key)
                    .unwrap_or_else(|| {
                        self.instances
                            .push((key, Instance::new(&self.plan, self.clause.as_ref())));
                        self.instances.len() - 1
                    })
            }
        };
        self.instances[at].1.event(&self.plan, &event, self.now);
        self.collect();
    }

    /// What all instances have given at this instant is one delivery.
    fn collect(&mut self) {
        let given: Vec<_> = self
            .instances
            .iter_mut()
            .filter_map(|(_, instance)| instance.given.take())
            .collect();
        if !given.is_empty() {
            let (new, old): (Vec<_>, Vec<_>) = given.into_iter().unzip();
            self.deliveries.push(Delivery {
                time: self.now,
                new: new.concat(),
                old: old.concat(),
            });
        }
    }
}
