//! Calls in expressions: functions of one row, `prev` and its kin, aggregates.

use std::collections::BTreeSet;

use super::{Aggregates, Binder, Result, constant, folded, java_name, mismatch, references, to_type, unify};
use crate::error::{Fault, nearest};
use crate::expr::function::{FUNCTIONS, Parameter, Signature};
use crate::expr::{Aggregate, AggregateFunction, Expr, Function, Node, PreviousKind};
use crate::syntax::ast::{Argument, Call, Expr as Syntax, PathPart, Span};
use crate::value::{Type, Value};

/// The aggregate functions by name.
fn aggregate_named(name: &str) -> Option<AggregateFunction> {
    Some(match name {
        "count" => AggregateFunction::Count,
        "sum" => AggregateFunction::Sum,
        "avg" => AggregateFunction::Avg,
        "min" | "fmin" => AggregateFunction::Min,
        "max" | "fmax" => AggregateFunction::Max,
        "stddev" => AggregateFunction::Stddev,
        "median" => AggregateFunction::Median,
        "avedev" => AggregateFunction::Avedev,
        "first" => AggregateFunction::First,
        "last" => AggregateFunction::Last,
        "window" => AggregateFunction::Window,
        "nth" => AggregateFunction::Nth,
        "minby" => AggregateFunction::MinBy,
        "maxby" => AggregateFunction::MaxBy,
        "minbyever" => AggregateFunction::MinByEver,
        "maxbyever" => AggregateFunction::MaxByEver,
        "countever" => AggregateFunction::CountEver,
        "firstever" => AggregateFunction::FirstEver,
        "lastever" => AggregateFunction::LastEver,
        "minever" | "fminever" => AggregateFunction::MinEver,
        "maxever" | "fmaxever" => AggregateFunction::MaxEver,
        "leaving" => AggregateFunction::Leaving,
        "rate" => AggregateFunction::Rate,
        "count_distinct_approx" => AggregateFunction::CountDistinctApprox,
        _ => return None,
    })
}

/// Names of functions and aggregates, for guesses.
const OTHER_FUNCTIONS: [&str; 27] = [
    "count",
    "sum",
    "avg",
    "stddev",
    "median",
    "avedev",
    "first",
    "last",
    "window",
    "nth",
    "minby",
    "maxby",
    "countever",
    "firstever",
    "lastever",
    "minever",
    "maxever",
    "leaving",
    "rate",
    "coalesce",
    "prev",
    "prior",
    "current_timestamp",
    "prevcount",
    "prevwindow",
    "prevtail",
    "count_distinct_approx",
];

impl Binder<'_> {
    pub(super) fn call(&mut self, call: &Call, span: Span) -> Result<Expr> {
        let name = call.name.name.to_ascii_lowercase();
        match name.as_str() {
            "current_timestamp" => {
                return if call.arguments.is_empty() {
                    Ok(Expr {
                        node: Node::Now,
                        of: Type::Long,
                    })
                } else {
                    Err(Fault::invalid(span, "'current_timestamp()' takes no arguments"))
                };
            }
            "coalesce" => return self.coalesce(call, span),
            "istream" => {
                return Err(Fault::unsupported(
                    span,
                    "'istream()'",
                    "deliveries of 'select irstream' tell new rows from old",
                ));
            }
            "prev" | "prevtail" | "prior" | "prevcount" | "prevwindow" => return self.previous(&name, call, span),
            _ => {}
        }
        let aggregate = aggregate_named(&name);
        let several = call
            .arguments
            .iter()
            .filter(|argument| matches!(argument, Argument::Expr(_)))
            .count()
            > 1;
        // `max(a, b)` is of one row; `max(a)` and `fmax(a, condition)` are aggregates.
        if let Some(function) = aggregate
            && !(matches!(name.as_str(), "min" | "max") && several)
        {
            return self.aggregate(function, call, span);
        }
        let Some(signature) = FUNCTIONS.iter().find(|signature| signature.name == name) else {
            let known = FUNCTIONS.iter().map(|signature| signature.name).chain(OTHER_FUNCTIONS);
            let hint = match nearest(&name, known) {
                Some(near) => Some(format!("did you mean '{near}'?")),
                None => Some(
                    "there are no user-defined functions; the functions are listed in the language's reference"
                        .to_owned(),
                ),
            };
            return Err(Fault::invalid(
                call.name.span,
                format!(
                    "Unknown single-row function, aggregation function or mapped or indexed property named '{}' could not be resolved",
                    call.name
                ),
            )
            .with_hint(hint));
        };
        self.function(signature, call, span)
    }

    /// The plain arguments of a call that takes no others.
    pub(super) fn plain<'s>(&self, call: &'s Call, span: Span) -> Result<Vec<&'s Syntax>> {
        if call.distinct || call.property.is_some() {
            return Err(Fault::invalid(
                span,
                format!("'{}' takes neither 'distinct' nor a property", call.name),
            ));
        }
        let plain = call.arguments.iter().map(|argument| match argument {
            Argument::Expr(expr) => Ok(expr),
            _ => Err(Fault::invalid(
                span,
                format!("'{}' takes expressions as its arguments", call.name),
            )),
        });
        plain.collect()
    }

    pub(super) fn function(&mut self, signature: &Signature, call: &Call, span: Span) -> Result<Expr> {
        let arguments = self.plain(call, span)?;
        let most = if signature.variadic {
            usize::MAX
        } else {
            signature.parameters.len()
        };
        if arguments.len() < signature.required || arguments.len() > most {
            return Err(Fault::invalid(
                span,
                format!(
                    "'{}' takes {} arguments and is given {}",
                    signature.name,
                    signature.required,
                    arguments.len()
                ),
            ));
        }
        let mut bound = Vec::new();
        for (at, argument) in arguments.iter().enumerate() {
            let parameter = signature.parameters[at.min(signature.parameters.len() - 1)];
            let expr = self.bind(argument)?;
            let fits = match parameter {
                Parameter::Number | Parameter::Double => expr.of.is_numeric(),
                Parameter::Long => expr.of.is_integer(),
                Parameter::Comparable => true,
                Parameter::Address => matches!(expr.of, Type::Address | Type::Text),
                Parameter::Text => expr.of == Type::Text,
            };
            if !fits && expr.of != Type::Null {
                let wanted = match parameter {
                    Parameter::Address => "an address",
                    Parameter::Text => "a text",
                    Parameter::Long => "a whole number",
                    _ => "a number",
                };
                return Err(Fault::invalid(
                    argument.span,
                    format!(
                        "'{}' wants {wanted}, and '{argument}' is of type {}",
                        signature.name, expr.of
                    ),
                ));
            }
            if matches!(signature.function, Function::FlagsSet | Function::FlagsOnly)
                && parameter == Parameter::Text
                && let Some(Value::Text(flags)) = constant(&expr)
                && crate::expr::function::flags_of(&flags).is_none()
            {
                return Err(Fault::invalid(argument.span, format!("'{flags}' names no TCP flags"))
                    .with_hint(Some("the letters are F, S, R, P, A, U".to_owned())));
            }
            bound.push((
                match parameter {
                    Parameter::Address => to_type(expr, &Type::Address),
                    Parameter::Long => to_type(expr, &Type::Long),
                    Parameter::Double => to_type(expr, &Type::Double),
                    Parameter::Text => to_type(expr, &Type::Text),
                    Parameter::Number | Parameter::Comparable => expr,
                },
                argument.span,
            ));
        }
        let mut arguments: Vec<Expr> = if signature.parameters == [Parameter::Comparable] {
            unify(bound, span)?
        } else {
            bound.into_iter().map(|(expr, _)| expr).collect()
        };
        let common = arguments.first().map_or(Type::Null, |first| first.of.clone());
        if signature.function == Function::Prefix && arguments.len() == 2 {
            arguments.shrink_to_fit();
        }
        Ok(folded(
            Node::Call(signature.function, arguments),
            signature.function.result_type(&common),
        ))
    }

    pub(super) fn coalesce(&mut self, call: &Call, span: Span) -> Result<Expr> {
        let arguments = self.plain(call, span)?;
        if arguments.len() < 2 {
            return Err(Fault::invalid(span, "Coalesce node must have at least 2 parameters"));
        }
        let mut bound = Vec::new();
        for argument in arguments {
            bound.push((self.bind(argument)?, argument.span));
        }
        let bound = unify(bound, span)?;
        let of = bound.first().map_or(Type::Null, |first| first.of.clone());
        Ok(folded(Node::Coalesce(bound), of))
    }

    pub(super) fn previous(&mut self, name: &str, call: &Call, span: Span) -> Result<Expr> {
        let kind = match name {
            "prev" => PreviousKind::Prev,
            "prevtail" => PreviousKind::PrevTail,
            "prevcount" => PreviousKind::PrevCount,
            "prevwindow" => PreviousKind::PrevWindow,
            _ => PreviousKind::Prior,
        };
        let arguments = self.plain(call, span)?;
        let mut bound = Vec::new();
        for argument in arguments {
            bound.push(self.bind(argument)?);
        }
        let is_column = |expr: &Expr| matches!(expr.node, Node::Column { .. });
        // `prev(1, x)`, `prev(x, 1)` and `prev(x)`.
        let (offset, of) = match bound.as_slice() {
            [of] => (None, of),
            [offset, of] if is_column(of) => (Some(offset), of),
            [of, offset] if is_column(of) => (Some(offset), of),
            _ => {
                return Err(Fault::unsupported(
                    span,
                    format!("'{name}' of anything but a column"),
                    format!("write '{name}(n, column)'"),
                ));
            }
        };
        let (Node::Column { stream, column }, result) = (&of.node, of.of.clone()) else {
            return Err(Fault::unsupported(
                span,
                format!("'{name}' of anything but a column"),
                format!("write '{name}(n, column)'"),
            ));
        };
        let offset = match offset {
            Some(offset) if offset.of.is_integer() => to_type(offset.clone(), &Type::Long),
            Some(_) => return Err(Fault::invalid(span, "Previous function requires an integer index")),
            None => {
                let first = i64::from(kind != PreviousKind::PrevTail);
                Expr {
                    node: Node::Literal(Value::Long(first)),
                    of: Type::Long,
                }
            }
        };
        if let Some(matching) = &mut self.matching {
            let back = constant(&offset)
                .and_then(|value| value.as_long())
                .and_then(|back| usize::try_from(back).ok());
            let Some(back) = back else {
                return Err(Fault::unsupported(span, "a computed index of 'prev'", "write a number"));
            };
            matching.previous_rows = matching.previous_rows.max(back);
        }
        self.uses_previous.insert(*stream);
        let result = match kind {
            PreviousKind::PrevCount => Type::Long,
            PreviousKind::PrevWindow => Type::List(Box::new(result)),
            _ => result,
        };
        let (stream, column) = (*stream, *column);
        Ok(Expr {
            node: Node::Previous {
                kind,
                stream,
                offset: Box::new(offset),
                column,
            },
            of: result,
        })
    }

    pub(super) fn aggregate(&mut self, function: AggregateFunction, call: &Call, span: Span) -> Result<Expr> {
        match self.aggregation {
            Aggregates::Allowed => {}
            Aggregates::Refused => {
                return Err(Fault::invalid(span, "Aggregation functions not allowed within filters")
                    .with_hint(Some("use 'having' for conditions on aggregates".to_owned())));
            }
            Aggregates::Inside => {
                return Err(Fault::invalid(
                    span,
                    "Aggregation functions cannot contain aggregation functions",
                ));
            }
        }
        self.aggregation = Aggregates::Inside;
        let bound = self.aggregate_arguments(function, call, span);
        self.aggregation = Aggregates::Allowed;
        let aggregate = bound?;
        let of = aggregate.of.clone();
        if let Some(matching) = &mut self.matching {
            let mut streams = BTreeSet::new();
            for argument in &aggregate.arguments {
                streams.extend(references(argument).streams);
            }
            let Some(variable) = streams.first().copied().filter(|_| streams.len() == 1) else {
                return Err(Fault::invalid(
                    span,
                    "An aggregate in match_recognize must speak of exactly one variable",
                ));
            };
            let entry = (variable, aggregate);
            let slot = matching
                .aggregates
                .iter()
                .position(|known| *known == entry)
                .unwrap_or(matching.aggregates.len());
            if slot == matching.aggregates.len() {
                matching.aggregates.push(entry);
            }
            return Ok(Expr {
                node: Node::Aggregate(slot),
                of,
            });
        }
        let slot = self
            .aggregates
            .iter()
            .position(|known| *known == aggregate)
            .unwrap_or(self.aggregates.len());
        if slot == self.aggregates.len() {
            self.aggregates.push(aggregate);
        }
        Ok(Expr {
            node: Node::Aggregate(slot),
            of,
        })
    }

    pub(super) fn aggregate_arguments(
        &mut self,
        function: AggregateFunction,
        call: &Call,
        span: Span,
    ) -> Result<Aggregate> {
        let mut filter = None;
        let mut plain: Vec<(Expr, Span)> = Vec::new();
        let mut wildcard = false;
        for argument in &call.arguments {
            match argument {
                Argument::Wildcard => wildcard = true,
                Argument::StreamWildcard(stream) => {
                    let Some(index) = self.stream_named(&stream.name) else {
                        return Err(Fault::invalid(
                            stream.span,
                            format!("Stream named '{stream}' is not known"),
                        ));
                    };
                    plain.push((
                        Expr {
                            node: Node::Row(index),
                            of: self.streams[index].event_type.row_type(),
                        },
                        stream.span,
                    ));
                }
                Argument::Expr(expr) | Argument::Ordered(expr, false) => plain.push((self.bind(expr)?, expr.span)),
                // Largest first is smallest first of the negative, save that null then comes last.
                Argument::Ordered(expr, true) => {
                    let bound = self.numeric(expr, "desc")?;
                    let (of, last) = if bound.of.is_integer() {
                        (Type::Long, Value::Long(i64::MAX))
                    } else {
                        (Type::Double, Value::Double(f64::INFINITY))
                    };
                    let last = Expr {
                        node: Node::Literal(last),
                        of: of.clone(),
                    };
                    let bound = to_type(bound, &of);
                    let negative = folded(Node::Negate(Box::new(bound)), of.clone());
                    plain.push((folded(Node::Coalesce(vec![negative, last]), of), expr.span));
                }
                Argument::Named(name, expr) if name.name.eq_ignore_ascii_case("filter") => {
                    filter = Some(self.condition(expr, "Invalid filter expression: it must return a boolean value")?);
                }
                Argument::Named(name, _) => {
                    return Err(Fault::unsupported(
                        name.span,
                        format!("parameter '{name}' of an aggregate"),
                        "use a statement of its own with that 'group by'",
                    ));
                }
            }
        }
        let takes_filter = matches!(
            function,
            AggregateFunction::Count
                | AggregateFunction::Sum
                | AggregateFunction::Avg
                | AggregateFunction::Min
                | AggregateFunction::Max
                | AggregateFunction::Stddev
                | AggregateFunction::Median
                | AggregateFunction::Avedev
                | AggregateFunction::CountEver
                | AggregateFunction::FirstEver
                | AggregateFunction::LastEver
                | AggregateFunction::MinEver
                | AggregateFunction::MaxEver
                | AggregateFunction::CountDistinctApprox
        );
        // `sum(x, condition)`, `count(*, condition)`.
        let least = usize::from(!wildcard);
        if takes_filter
            && filter.is_none()
            && plain.len() == least + 1
            && plain.last().is_some_and(|(last, _)| last.of == Type::Bool)
        {
            filter = plain.pop().map(|(condition, _)| condition);
        }
        let name = call.name.name.to_ascii_lowercase();
        let wrong_count = |wanted: &str| Err(Fault::invalid(span, format!("The '{name}' function takes {wanted}")));
        let first_of = plain.first().map(|(first, _)| first.of.clone());
        let numeric = |of: &Option<Type>| match of {
            Some(of) if of.is_numeric() => Ok(of.clone()),
            Some(of) => Err(Fault::invalid(
                span,
                format!(
                    "Implicit conversion from datatype '{}' to numeric is not allowed for aggregation function '{name}'",
                    java_name(of)
                ),
            )),
            None => Err(Fault::invalid(
                span,
                format!("The '{name}' function takes an expression"),
            )),
        };
        if call.property.is_some()
            && !matches!(
                function,
                AggregateFunction::MinBy
                    | AggregateFunction::MaxBy
                    | AggregateFunction::MinByEver
                    | AggregateFunction::MaxByEver
                    | AggregateFunction::First
                    | AggregateFunction::Last
            )
        {
            return Err(Fault::invalid(
                span,
                format!("The result of '{name}' has no properties"),
            ));
        }
        let of = match function {
            AggregateFunction::Count | AggregateFunction::CountEver => {
                if call.distinct && function == AggregateFunction::CountEver {
                    return Err(Fault::invalid(
                        span,
                        "Aggregation function 'countever' does not allow distinct",
                    ));
                }
                if wildcard && call.distinct {
                    return Err(Fault::invalid(
                        span,
                        "Invalid use of the 'distinct' keyword with count and wildcard",
                    ));
                }
                if plain.len() != usize::from(!wildcard)
                    && !(function == AggregateFunction::CountEver && plain.is_empty())
                {
                    return wrong_count("'*' or an expression");
                }
                Type::Long
            }
            AggregateFunction::CountDistinctApprox => {
                if plain.len() != 1 {
                    return wrong_count("one expression");
                }
                Type::Long
            }
            AggregateFunction::Sum => match numeric(&first_of)? {
                Type::Double => Type::Double,
                // 64 bits also for int, so that no sum of ints wraps: a wanted difference from Esper.
                _ => Type::Long,
            },
            AggregateFunction::Avg
            | AggregateFunction::Stddev
            | AggregateFunction::Median
            | AggregateFunction::Avedev => {
                numeric(&first_of)?;
                Type::Double
            }
            AggregateFunction::Min
            | AggregateFunction::Max
            | AggregateFunction::MinEver
            | AggregateFunction::MaxEver => match first_of.clone() {
                Some(of @ (Type::Text | Type::Address)) => of,
                _ => numeric(&first_of)?,
            },
            AggregateFunction::First | AggregateFunction::Last | AggregateFunction::Window => {
                if let Some((_, at)) = plain
                    .get(1)
                    .filter(|(index, _)| !matches!(index.of, Type::Int | Type::Long))
                {
                    return Err(Fault::invalid(
                        *at,
                        format!("The index of '{name}' must be a whole number; a condition is written 'filter: ..'"),
                    ));
                }
                if wildcard || plain.is_empty() {
                    let [stream] = self.streams.as_slice() else {
                        return Err(Fault::invalid(
                            span,
                            format!("'{name}(*)' needs a statement of a single stream"),
                        ));
                    };
                    plain.insert(
                        0,
                        (
                            Expr {
                                node: Node::Row(0),
                                of: stream.event_type.row_type(),
                            },
                            span,
                        ),
                    );
                }
                let of = plain.first().map_or(Type::Null, |(first, _)| first.of.clone());
                if let Some(property) = &call.property {
                    let (value, at) = plain.remove(0);
                    let part = PathPart {
                        name: property.clone(),
                        index: Vec::new(),
                    };
                    plain.insert(0, (self.fields(value, &[part], span)?, at));
                }
                let of = if call.property.is_some() {
                    plain.first().map_or(of, |(first, _)| first.of.clone())
                } else {
                    of
                };
                if function == AggregateFunction::Window {
                    Type::List(Box::new(of))
                } else {
                    of
                }
            }
            AggregateFunction::FirstEver | AggregateFunction::LastEver => {
                if plain.len() != 1 {
                    return wrong_count("one expression");
                }
                first_of.clone().unwrap_or(Type::Null)
            }
            AggregateFunction::Nth => {
                if plain.len() != 2 {
                    return wrong_count("an expression and a number");
                }
                first_of.clone().unwrap_or(Type::Null)
            }
            AggregateFunction::MinBy
            | AggregateFunction::MaxBy
            | AggregateFunction::MinByEver
            | AggregateFunction::MaxByEver => {
                if plain.is_empty() {
                    return wrong_count("one or more keys");
                }
                let value = match &call.property {
                    Some(property) => self.path(
                        &[PathPart {
                            name: property.clone(),
                            index: Vec::new(),
                        }],
                        property.span,
                    )?,
                    None => {
                        let [stream] = self.streams.as_slice() else {
                            return Err(Fault::invalid(
                                span,
                                format!("'{name}' needs a property: '{name}(x).y'"),
                            ));
                        };
                        Expr {
                            node: Node::Row(0),
                            of: stream.event_type.row_type(),
                        }
                    }
                };
                let of = value.of.clone();
                plain.push((value, span));
                of
            }
            AggregateFunction::Leaving => {
                if !plain.is_empty() {
                    return wrong_count("no arguments");
                }
                Type::Bool
            }
            AggregateFunction::Rate => {
                if plain.is_empty() || plain.len() > 3 {
                    return wrong_count("an interval in seconds, or a time stamp and an amount");
                }
                for (argument, at) in &plain {
                    if !argument.of.is_numeric() {
                        return Err(mismatch(&argument.of, &Type::Double, *at));
                    }
                }
                Type::Double
            }
        };
        let most = match function {
            AggregateFunction::First | AggregateFunction::Last | AggregateFunction::Nth => 2,
            AggregateFunction::Rate => 3,
            AggregateFunction::MinBy
            | AggregateFunction::MaxBy
            | AggregateFunction::MinByEver
            | AggregateFunction::MaxByEver => usize::MAX,
            _ => 1,
        };
        if plain.len() > most {
            return wrong_count("fewer arguments");
        }
        Ok(Aggregate {
            function,
            distinct: call.distinct,
            arguments: plain.into_iter().map(|(argument, _)| argument).collect(),
            filter,
            of,
        })
    }
}
