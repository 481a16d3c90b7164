//! From groups to delivered rows.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, UInt64Array};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, SchemaRef};

use super::bound;
use super::deliver::delivered;
use super::groups::{Cell, Grouping, Groups, from_word};
use super::keys::{KeyId, Keys};
use super::numbers::Number;
use super::order::{self, FEW, SortKey};
use super::query::{Function, Query};
use super::scalar::Scalar;
use super::stage::Stage;
use crate::expr::Expr;

/// A column of the groups: a key or an aggregate.
#[derive(Debug, Clone)]
pub(crate) enum GroupColumn {
    Key(KeyId),
    Rows,
    /// Rows whose argument is not null.
    Count {
        nulls: usize,
    },
    Distinct {
        offset: usize,
    },
    Sum {
        offset: usize,
        nulls: usize,
        double: bool,
    },
    Average {
        offset: usize,
        nulls: usize,
        double: bool,
    },
    Extreme {
        extremes: usize,
        double: bool,
    },
    Deviation {
        offset: usize,
    },
}

impl GroupColumn {
    /// The column for an aggregate; makes its cells in the grouping.
    pub(crate) fn aggregate(
        function: Function,
        grouping: &mut Grouping,
        argument: Option<(usize, bool)>,
        distinct: Option<(KeyId, Option<KeyId>)>,
    ) -> Self {
        if let Some((atom, member)) = distinct {
            return Self::Distinct {
                offset: grouping.distinct(atom, member),
            };
        }
        let Some((argument, double)) = argument else {
            return Self::Rows;
        };
        let nulls = grouping.nulls(argument);
        match function {
            Function::Count | Function::CountDistinct | Function::First | Function::Last => Self::Count { nulls },
            Function::Sum => Self::Sum {
                offset: grouping.cell(Cell::Sum { argument }),
                nulls,
                double,
            },
            Function::Average => Self::Average {
                offset: grouping.cell(Cell::Sum { argument }),
                nulls,
                double,
            },
            Function::Smallest => Self::Extreme {
                extremes: grouping.extreme(argument, false),
                double,
            },
            Function::Largest => Self::Extreme {
                extremes: grouping.extreme(argument, true),
                double,
            },
            Function::Deviation => Self::Deviation {
                offset: grouping.cell(Cell::Moments { argument }),
            },
        }
    }

    /// The column for a count or sum of integers that is kept by pane: `nulls` are the counts of the argument's nulls, `sum`
    /// makes the word of its sum.
    pub(crate) fn paned(function: Function, nulls: usize, sum: impl FnOnce() -> usize) -> Self {
        match function {
            Function::Sum => Self::Sum {
                offset: sum(),
                nulls,
                double: false,
            },
            Function::Average => Self::Average {
                offset: sum(),
                nulls,
                double: false,
            },
            _ => Self::Count { nulls },
        }
    }

    /// The word of a group's record that is the column's value, where there is one for all groups.
    fn word(&self, groups: &dyn Groups) -> Option<usize> {
        match *self {
            Self::Rows => Some(0),
            Self::Distinct { offset } => Some(offset),
            Self::Sum {
                offset,
                nulls,
                double: false,
            } if !groups.has_nulls(nulls) => Some(offset),
            _ => None,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "counts and sums become double as EPL converts long to double"
    )]
    fn read(&self, keys: &Keys, groups: &dyn Groups, slots: &[u32]) -> ArrayRef {
        let present = |nulls: usize| -> (Vec<i64>, Option<NullBuffer>) {
            let counts: Vec<i64> = slots
                .iter()
                .map(|&slot| groups.rows_of(slot) - groups.nulls_of(slot, nulls))
                .collect();
            let some = counts
                .contains(&0)
                .then(|| counts.iter().map(|&count| count != 0).collect());
            (counts, some)
        };
        match *self {
            Self::Key(atom) => keys.values(atom, &groups.ids(keys, slots, atom)),
            Self::Rows => Arc::new(Int64Array::from(groups.gather(slots, 0))),
            Self::Count { nulls } => Arc::new(Int64Array::from(present(nulls).0)),
            Self::Distinct { offset } => Arc::new(Int64Array::from(groups.gather(slots, offset))),
            Self::Sum { offset, nulls, double } => {
                let sums = groups.gather(slots, offset);
                // Most sums are of columns without nulls; a look tells, without keeping the counts.
                let empty = |slot: &u32| groups.rows_of(*slot) == groups.nulls_of(*slot, nulls);
                let some = if slots.iter().any(empty) {
                    present(nulls).1
                } else {
                    None
                };
                if double {
                    let sums: Vec<f64> = sums.into_iter().map(from_word).collect();
                    Arc::new(Float64Array::new(sums.into(), some))
                } else {
                    Arc::new(Int64Array::new(sums.into(), some))
                }
            }
            Self::Average { offset, nulls, double } => {
                let (counts, some) = present(nulls);
                let sums = groups.gather(slots, offset);
                let mean = |(sum, count): (i64, i64)| {
                    let sum = if double { from_word(sum) } else { sum as f64 };
                    sum / count as f64
                };
                let means: Vec<f64> = sums.into_iter().zip(counts).map(mean).collect();
                Arc::new(Float64Array::new(means.into(), some))
            }
            Self::Deviation { offset } => Arc::new(
                slots
                    .iter()
                    .map(|&slot| {
                        let count = groups.word(slot, offset);
                        let squares = from_word(groups.word(slot, offset + 2));
                        (count > 1).then(|| (squares / (count - 1) as f64).sqrt())
                    })
                    .collect::<Float64Array>(),
            ),
            Self::Extreme { extremes, double } => {
                let front = |&slot: &u32| groups.extreme(extremes, slot);
                if double {
                    let real = |number| match number {
                        Number::Double(value) => value,
                        Number::Integer(value) => value as f64,
                    };
                    Arc::new(slots.iter().map(|slot| front(slot).map(real)).collect::<Float64Array>())
                } else {
                    let whole = |number| match number {
                        Number::Integer(value) => Some(value),
                        Number::Double(_) => None,
                    };
                    Arc::new(
                        slots
                            .iter()
                            .map(|slot| front(slot).and_then(whole))
                            .collect::<Int64Array>(),
                    )
                }
            }
        }
    }
}

/// Expressions over some of the group columns.
#[derive(Debug, Clone)]
struct Results {
    stage: Stage,
    /// Nothing but one column is asked for.
    alone: bool,
}

impl Results {
    fn new(scalars: &[Scalar], types: &[DataType]) -> Self {
        Self {
            stage: Stage::new(scalars, types),
            alone: matches!(scalars, [scalar] if scalar.as_column().is_some()),
        }
    }

    /// The only column, if nothing else is asked for and it is delivered as it is kept.
    fn integer<'a>(&self, columns: &'a [GroupColumn]) -> Option<&'a GroupColumn> {
        let whole = self.alone && *self.stage.schema.field(0).data_type() == DataType::Int64;
        whole.then(|| &columns[self.stage.columns[0]])
    }

    fn evaluate(&self, source: &Source<'_>, slots: &[u32]) -> Vec<ArrayRef> {
        let arrays: Vec<ArrayRef> = self
            .stage
            .columns
            .iter()
            .zip(self.stage.schema.fields())
            .map(|(&column, field)| {
                let array = source.columns[column].read(source.keys, source.groups, slots);
                // The language may call a narrower type the result; a smallest or largest of it always fits.
                delivered(Arc::clone(&array), field.data_type()).unwrap_or(array)
            })
            .collect();
        if self.alone {
            return arrays;
        }
        let evaluate = |batch: &RecordBatch| {
            self.stage
                .scalars
                .iter()
                .map(|scalar| scalar.evaluate(batch, &[]))
                .collect()
        };
        self.stage
            .batch(slots.len(), arrays)
            .as_ref()
            .map_or_else(Vec::new, evaluate)
    }
}

struct Source<'a> {
    keys: &'a Keys,
    groups: &'a dyn Groups,
    columns: &'a [GroupColumn],
}

/// What must be true of the records of groups for a condition over their columns to be.
fn bounds(having: &Expr, columns: &[GroupColumn]) -> Vec<(usize, i64)> {
    let counts = |column: usize| {
        matches!(
            columns.get(column),
            Some(GroupColumn::Rows | GroupColumn::Count { .. } | GroupColumn::Distinct { .. })
        )
    };
    let mut bounds = vec![(0, bound::rows(having, &counts))];
    bound::each(having, &mut |column, least| {
        if let Some(
            GroupColumn::Distinct { offset }
            | GroupColumn::Sum {
                offset, double: false, ..
            },
        ) = columns.get(column)
        {
            bounds.push((*offset, least));
        }
    });
    bounds.retain(|&(offset, least)| offset != 0 || least > 0);
    bounds
}

/// How a statement's output is made of the groups of a view.
#[derive(Debug, Clone)]
pub(crate) struct GroupOutput {
    columns: Vec<GroupColumn>,
    having: Option<Results>,
    /// Words of a group's record, and what they come to at least where `having` is true.
    bounds: Vec<(usize, i64)>,
    order: Vec<(Results, bool)>,
    select: Results,
    schema: SchemaRef,
    limit: Option<usize>,
    offset: usize,
}

/// The clauses that follow the groups, over their columns.
#[derive(Debug)]
pub(crate) struct Clauses<'a> {
    pub(crate) having: Option<&'a Scalar>,
    pub(crate) select: &'a [Scalar],
    pub(crate) order: &'a [(Scalar, bool)],
    pub(crate) limit: Option<usize>,
    pub(crate) offset: usize,
    pub(crate) schema: &'a SchemaRef,
}

impl<'a> Clauses<'a> {
    /// The clauses of a statement over groups.
    pub(crate) fn of(query: &'a Query, having: Option<&'a Scalar>, select: &'a [Scalar]) -> Self {
        Self {
            having,
            select,
            order: &query.order,
            limit: query.limit,
            offset: query.offset,
            schema: &query.schema,
        }
    }
}

impl GroupOutput {
    /// `types` are those of the columns.
    pub(crate) fn new(columns: Vec<GroupColumn>, types: &[DataType], clauses: &Clauses<'_>) -> Self {
        let one = |scalar: &Scalar| Results::new(std::slice::from_ref(scalar), types);
        Self {
            having: clauses.having.map(one),
            bounds: clauses
                .having
                .map_or_else(Vec::new, |having| bounds(having.expr(), &columns)),
            order: clauses
                .order
                .iter()
                .map(|(scalar, descending)| (one(scalar), *descending))
                .collect(),
            select: Results::new(clauses.select, types),
            schema: Arc::clone(clauses.schema),
            limit: clauses.limit,
            offset: clauses.offset,
            columns,
        }
    }

    /// The rows for the groups that have rows, none if there are none.
    ///
    /// Where only the first by a sum or a count are wanted the others are passed over without being listed.
    pub(crate) fn live_rows(
        &self,
        keys: &Keys,
        groups: &dyn Groups,
        appearance: &dyn Fn(&[u32]) -> Vec<usize>,
    ) -> Option<RecordBatch> {
        let wanted = self.wanted();
        let leading = match &self.order[..] {
            [(first, descending), ..] if self.having.is_none() && (1..=FEW).contains(&wanted) => first
                .integer(&self.columns)
                .and_then(|column| column.word(groups))
                .map(|offset| groups.leading(offset, *descending, wanted)),
            _ => None,
        };
        self.rows(
            keys,
            groups,
            appearance,
            leading.unwrap_or_else(|| groups.live_from(&self.bounds)),
        )
    }

    fn wanted(&self) -> usize {
        self.limit.map_or(usize::MAX, |limit| limit.saturating_add(self.offset))
    }

    /// The rows for these groups, none if there are none. `appearance` ranks groups, by slot, as their oldest rows came.
    pub(crate) fn rows(
        &self,
        keys: &Keys,
        groups: &dyn Groups,
        appearance: &dyn Fn(&[u32]) -> Vec<usize>,
        mut slots: Vec<u32>,
    ) -> Option<RecordBatch> {
        let source = Source {
            keys,
            groups,
            columns: &self.columns,
        };
        if let Some(having) = &self.having {
            let passed = having.evaluate(&source, &slots);
            let passed: &BooleanArray = passed.first()?.as_boolean();
            let mut index = 0;
            slots.retain(|_| {
                let keep = passed.is_valid(index) && passed.value(index);
                index += 1;
                keep
            });
        }
        if slots.is_empty() {
            return None;
        }
        let wanted = self.wanted();
        let grouped = groups.is_grouped();
        if let Some(((first, descending), others)) = self.order.split_first() {
            let values = first.evaluate(&source, &slots).pop()?;
            let leading = order::leading(&(Arc::clone(&values), *descending), wanted);
            let values = if leading.len() < slots.len() {
                let places: UInt64Array = leading.iter().map(|&place| place as u64).collect();
                slots = leading.iter().map(|&place| slots[place]).collect();
                arrow_select::take::take(&values, &places, None).ok()?
            } else {
                values
            };
            let mut sort_keys: Vec<SortKey> = vec![(values, *descending)];
            for (stage, descending) in others {
                sort_keys.push((stage.evaluate(&source, &slots).pop()?, *descending));
            }
            let mut sorted = order::sorted(&sort_keys, |place| place);
            let decided = &sorted[..wanted.saturating_add(1).min(sorted.len())];
            if grouped && order::has_ties(&sort_keys, decided) {
                let ranks = appearance(&slots);
                sorted = order::sorted(&sort_keys, |place| ranks[slots[place] as usize]);
            }
            slots = sorted.into_iter().map(|place| slots[place]).collect();
        } else if grouped {
            let ranks = appearance(&slots);
            slots.sort_by_key(|&slot| ranks[slot as usize]);
        }
        slots.truncate(wanted);
        slots.drain(..self.offset.min(slots.len()));
        if slots.is_empty() {
            return None;
        }
        let arrays = self
            .select
            .evaluate(&source, &slots)
            .into_iter()
            .zip(self.schema.fields());
        let arrays: Option<Vec<ArrayRef>> = arrays
            .map(|(array, field)| delivered(array, field.data_type()))
            .collect();
        RecordBatch::try_new(Arc::clone(&self.schema), arrays?).ok()
    }
}
