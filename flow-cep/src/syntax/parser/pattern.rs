//! Patterns over events, and over rows (`match_recognize`).

use super::{Parser, Result};
use crate::error::Fault;
use crate::syntax::ast::{
    Filter, Guard, MatchRecognize, MatchSkip, Pattern, PatternKind, PatternSource, RowPattern, Span,
};
use crate::syntax::token::TokenKind;
use crate::value::Value;

fn pattern(kind: PatternKind, span: Span) -> Pattern {
    Pattern { kind, span }
}

/// Several patterns under one operator, or the one alone.
fn joined(mut patterns: Vec<Pattern>, make: fn(Vec<Pattern>) -> PatternKind, span: Span) -> Pattern {
    match patterns.pop() {
        Some(only) if patterns.is_empty() => only,
        Some(last) => {
            patterns.push(last);
            pattern(make(patterns), span)
        }
        None => pattern(make(patterns), span),
    }
}

impl Parser<'_> {
    /// `pattern @X [ .. ]`; the word has been seen, not taken.
    pub(super) fn pattern_source(&mut self) -> Result<PatternSource> {
        let start = self.span();
        self.word("pattern")?;
        let mut annotations = Vec::new();
        while self.is_symbol("@") {
            annotations.push(self.annotation()?);
        }
        self.symbol("[")?;
        let pattern = self.pattern()?;
        self.symbol("]")?;
        Ok(PatternSource {
            annotations,
            pattern,
            span: self.span_from(start),
        })
    }

    /// Loosest is `->`, then `or`, `and`, `until`, `every` and `not`, and tightest a guard.
    fn pattern(&mut self) -> Result<Pattern> {
        self.nested(|parser| {
            let start = parser.span();
            let mut steps = vec![parser.pattern_or()?];
            loop {
                if parser.is_symbol("-") && parser.is_symbol_at(1, "[") {
                    return Err(Fault::unsupported(
                        parser.span(),
                        "followed-by with a maximum '-[n]>'",
                        "use '->' with 'where timer:within', which bounds what waits",
                    ));
                }
                if !parser.take_symbol("->") {
                    break;
                }
                parser.count_operator()?;
                steps.push(parser.pattern_or()?);
            }
            Ok(joined(steps, PatternKind::FollowedBy, parser.span_from(start)))
        })
    }

    fn pattern_or(&mut self) -> Result<Pattern> {
        let start = self.span();
        let mut branches = vec![self.pattern_and()?];
        while self.take_word("or") {
            self.count_operator()?;
            branches.push(self.pattern_and()?);
        }
        Ok(joined(branches, PatternKind::Or, self.span_from(start)))
    }

    fn pattern_and(&mut self) -> Result<Pattern> {
        let start = self.span();
        let mut branches = vec![self.pattern_until()?];
        while self.take_word("and") {
            self.count_operator()?;
            branches.push(self.pattern_until()?);
        }
        Ok(joined(branches, PatternKind::And, self.span_from(start)))
    }

    fn pattern_until(&mut self) -> Result<Pattern> {
        let start = self.span();
        let inner = self.pattern_qualified()?;
        if !self.take_word("until") {
            return Ok(inner);
        }
        let end = self.pattern_qualified()?;
        Ok(pattern(
            PatternKind::Until {
                inner: Box::new(inner),
                end: Box::new(end),
            },
            self.span_from(start),
        ))
    }

    fn pattern_qualified(&mut self) -> Result<Pattern> {
        self.nested(|parser| {
            let start = parser.span();
            if parser.is_word("every") {
                parser.advance();
                if parser.is_symbol("-") && parser.is_word_at(1, "distinct") {
                    parser.advance();
                    parser.advance();
                    parser.symbol("(")?;
                    let keys = parser.list(Self::period_or_expression)?;
                    parser.symbol(")")?;
                    let inner = Box::new(parser.pattern_qualified()?);
                    return Ok(pattern(
                        PatternKind::EveryDistinct { keys, inner },
                        parser.span_from(start),
                    ));
                }
                let inner = Box::new(parser.pattern_qualified()?);
                return Ok(pattern(PatternKind::Every(inner), parser.span_from(start)));
            }
            if parser.take_word("not") {
                let inner = Box::new(parser.pattern_qualified()?);
                return Ok(pattern(PatternKind::Not(inner), parser.span_from(start)));
            }
            if parser.take_symbol("[") {
                if parser.is_symbol(":") {
                    return Err(parser.refuse_range());
                }
                let count = parser.expression()?;
                if parser.is_symbol(":") {
                    return Err(parser.refuse_range());
                }
                parser.symbol("]")?;
                let inner = Box::new(parser.pattern_qualified()?);
                return Ok(pattern(PatternKind::Repeat { count, inner }, parser.span_from(start)));
            }
            parser.pattern_guarded()
        })
    }

    fn refuse_range(&self) -> Box<Fault> {
        Fault::unsupported(
            self.span(),
            "a range of repetitions '[n:m]'",
            "use '[n] P' or 'P until Q'",
        )
    }

    fn pattern_guarded(&mut self) -> Result<Pattern> {
        let start = self.span();
        let inner = if self.take_symbol("(") {
            let inner = self.pattern()?;
            self.symbol(")")?;
            inner
        } else {
            self.pattern_atom()?
        };
        let guard = if self.take_word("where") {
            self.word("timer")?;
            self.symbol(":")?;
            let name = self.ident()?;
            self.symbol("(")?;
            let guard = match name.name.to_ascii_lowercase().as_str() {
                "within" => Guard::Within(self.period()?),
                "withinmax" => {
                    let period = self.period()?;
                    self.symbol(",")?;
                    Guard::WithinMax(period, self.expression()?)
                }
                _ => {
                    return Err(
                        Fault::invalid(name.span, format!("Guard 'timer:{name}' is not known")).with_hint(Some(
                            "the guards are timer:within(T) and timer:withinmax(T, n)".to_owned(),
                        )),
                    );
                }
            };
            self.symbol(")")?;
            guard
        } else if self.take_word("while") {
            self.symbol("(")?;
            let condition = self.expression()?;
            self.symbol(")")?;
            Guard::While(condition)
        } else {
            return Ok(inner);
        };
        Ok(pattern(
            PatternKind::Guard {
                inner: Box::new(inner),
                guard,
            },
            self.span_from(start),
        ))
    }

    fn pattern_atom(&mut self) -> Result<Pattern> {
        let start = self.span();
        if self.is_word("timer") && self.is_symbol_at(1, ":") {
            self.advance();
            self.advance();
            let name = self.ident()?;
            self.symbol("(")?;
            let kind = match name.name.to_ascii_lowercase().as_str() {
                "interval" => PatternKind::Interval(self.period()?),
                "at" => PatternKind::At(self.cron()?),
                "schedule" => {
                    return Err(Fault::unsupported(name.span, "timer:schedule", "use timer:interval(T)"));
                }
                _ => {
                    return Err(Fault::invalid(name.span, format!("Timer 'timer:{name}' is not known"))
                        .with_hint(Some("use timer:interval(T)".to_owned())));
                }
            };
            self.symbol(")")?;
            return Ok(pattern(kind, self.span_from(start)));
        }
        let tag = if self.at_ident() && self.is_symbol_at(1, "=") {
            let tag = self.ident()?;
            self.advance();
            Some(tag)
        } else {
            None
        };
        let filter = self.filter()?;
        Ok(pattern(PatternKind::Filter { tag, filter }, self.span_from(start)))
    }

    /// The fields of a cron schedule, `*` as null.
    pub(super) fn cron(&mut self) -> Result<Vec<crate::syntax::ast::Expr>> {
        self.list(|parser| {
            let span = parser.span();
            // Schedules are refused when planned; steps and lists of theirs already here.
            if parser.is_symbol("[") || (parser.is_symbol("*") && parser.is_symbol_at(1, "/")) {
                return Err(Fault::unsupported(
                    span,
                    "a cron schedule",
                    "use 'timer:interval(T)' or 'output every T'",
                ));
            }
            if parser.take_symbol("*") {
                return Ok(super::expr(crate::syntax::ast::ExprKind::Literal(Value::Null), span));
            }
            parser.expression()
        })
    }

    /// `Flow(proto = 6)`.
    pub(super) fn filter(&mut self) -> Result<Filter> {
        let start = self.span();
        let name = self.ident()?;
        if self.is_symbol(":") && matches!(self.peek_at(1), TokenKind::Word(_) | TokenKind::Literal(_)) {
            return Err(Fault::unsupported(
                self.span_from(start),
                format!("a join with '{name}:'"),
                "insert the rows from outside as events of a type of their own",
            ));
        }
        if self.is_symbol("[") {
            return Err(Fault::unsupported(
                self.span(),
                "a contained-event selection",
                "send the contained events as events of their own",
            ));
        }
        let mut conditions = Vec::new();
        if self.take_symbol("(") && !self.take_symbol(")") {
            conditions = self.list(Self::expression)?;
            self.symbol(")")?;
        }
        Ok(Filter {
            name,
            conditions,
            span: self.span_from(start),
        })
    }

    /// `match_recognize ( .. )`; the word has been taken.
    pub(super) fn match_recognize(&mut self, start: Span) -> Result<MatchRecognize> {
        self.symbol("(")?;
        let mut partition_by = Vec::new();
        if self.take_word("partition") {
            self.word("by")?;
            partition_by = self.list(Self::expression)?;
        }
        self.word("measures")?;
        let measures = self.list(|parser| {
            let value = parser.expression()?;
            parser.word("as")?;
            Ok((value, parser.ident()?))
        })?;
        let all_matches = self.is_word("all");
        if all_matches {
            self.advance();
            self.word("matches")?;
        }
        let mut skip = MatchSkip::default();
        if self.take_word("after") {
            self.word("match")?;
            self.word("skip")?;
            if self.take_word("past") {
                self.word("last")?;
            } else {
                self.word("to")?;
                skip = if self.take_word("next") {
                    MatchSkip::ToNextRow
                } else {
                    self.word("current")?;
                    MatchSkip::ToCurrentRow
                };
            }
            self.word("row")?;
        }
        self.word("pattern")?;
        self.symbol("(")?;
        let pattern = self.row_alternation()?;
        self.symbol(")")?;
        let mut interval = None;
        if self.take_word("interval") {
            let period = self.period()?;
            let or_terminated = self.take_word("or");
            if or_terminated {
                self.word("terminated")?;
            }
            interval = Some((period, or_terminated));
        }
        let mut define = Vec::new();
        if self.take_word("define") {
            define = self.list(|parser| {
                let name = parser.ident()?;
                parser.word("as")?;
                Ok((name, parser.expression()?))
            })?;
        }
        self.symbol(")")?;
        Ok(MatchRecognize {
            partition_by,
            measures,
            all_matches,
            skip,
            pattern,
            interval,
            define,
            span: self.span_from(start),
        })
    }

    fn row_alternation(&mut self) -> Result<RowPattern> {
        self.nested(|parser| {
            let mut branches = vec![parser.row_concat()?];
            while parser.take_symbol("|") {
                branches.push(parser.row_concat()?);
            }
            Ok(if branches.len() == 1 {
                branches.swap_remove(0)
            } else {
                RowPattern::Alternation(branches)
            })
        })
    }

    fn row_concat(&mut self) -> Result<RowPattern> {
        let mut steps = vec![self.row_repeat()?];
        while self.is_symbol("(") || self.at_ident() {
            steps.push(self.row_repeat()?);
        }
        Ok(if steps.len() == 1 {
            steps.swap_remove(0)
        } else {
            RowPattern::Concat(steps)
        })
    }

    fn row_repeat(&mut self) -> Result<RowPattern> {
        let inner = if self.take_symbol("(") {
            let inner = self.row_alternation()?;
            self.symbol(")")?;
            inner
        } else {
            let name = self.ident()?;
            if name.name.eq_ignore_ascii_case("match_recognize_permute") && self.take_symbol("(") {
                let parts = self.list(Self::row_alternation)?;
                self.symbol(")")?;
                RowPattern::Permute(parts)
            } else {
                RowPattern::Variable(name)
            }
        };
        let (min, max) = if self.take_symbol("*") {
            (0, None)
        } else if self.take_symbol("+") {
            (1, None)
        } else if self.take_symbol("?") {
            (0, Some(1))
        } else if self.take_symbol("{") {
            let min = if self.is_symbol(",") { 0 } else { self.repetition()? };
            let max = if self.take_symbol(",") {
                if self.is_symbol("}") {
                    None
                } else {
                    Some(self.repetition()?)
                }
            } else {
                Some(min)
            };
            self.symbol("}")?;
            (min, max)
        } else {
            return Ok(inner);
        };
        let greedy = !self.take_symbol("?");
        Ok(RowPattern::Repeat {
            inner: Box::new(inner),
            min,
            max,
            greedy,
        })
    }

    fn repetition(&mut self) -> Result<u32> {
        /// More repetitions than this are written as `*`: each becomes a state of the automaton.
        const MOST: i64 = 1000;
        let span = self.span();
        match self.peek() {
            TokenKind::Literal(value) => {
                let count = value.as_long().filter(|count| (0..=MOST).contains(count));
                let count = count.and_then(|count| u32::try_from(count).ok());
                let Some(count) = count else {
                    return Err(Fault::invalid(
                        span,
                        format!("A repetition must be between 0 and {MOST}"),
                    ));
                };
                self.advance();
                Ok(count)
            }
            _ => Err(self.unexpected(&[])),
        }
    }
}
