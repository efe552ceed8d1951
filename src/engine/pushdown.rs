//! Which conditions of a plan a source can ask before it makes a row: those on one text column,
//! whatever they do with it.

use std::sync::Arc;

use datafusion::arrow::array::{Array as _, AsArray, BooleanArray, RecordBatch, StringViewArray};
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNode as _;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{Expr, Operator};

use crate::context::Condition;

/// Returns the column of a condition that is about one text column only, and says the same every
/// time that it is asked.
pub(super) fn text_column(filter: &Expr, schema: &SchemaRef) -> Option<usize> {
    let columns = filter.column_refs();
    let mut names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    names.dedup();
    let [name] = names.as_slice() else { return None };
    let (index, field) = schema.column_with_name(name)?;
    let needs_more = |expression: &Expr| {
        Ok(matches!(
            expression,
            Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_)
                | Expr::ScalarSubquery(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::Placeholder(_)
        ))
    };
    let is_alone = !filter.is_volatile() && !filter.exists(needs_more).unwrap_or(true);
    (is_alone && *field.data_type() == DataType::Utf8View).then_some(index)
}

/// Functions that have a value for every text.
const TOTAL: [&str; 7] = ["lower", "upper", "btrim", "ltrim", "rtrim", "starts_with", "ends_with"];

/// Says whether there may be texts over which a condition on them fails. Of one that never does the
/// source's word is the last.
pub(super) fn may_fail(filter: &Expr) -> bool {
    let is_total = |expression: &Expr| match expression {
        Expr::Column(_)
        | Expr::Literal(..)
        | Expr::Alias(_)
        | Expr::Not(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::Between(_)
        | Expr::InList(_) => true,
        Expr::BinaryExpr(binary) => matches!(
            binary.op,
            Operator::Eq
                | Operator::NotEq
                | Operator::Lt
                | Operator::LtEq
                | Operator::Gt
                | Operator::GtEq
                | Operator::And
                | Operator::Or
                | Operator::IsDistinctFrom
                | Operator::IsNotDistinctFrom
        ),
        Expr::Like(like) => matches!(*like.pattern, Expr::Literal(..)),
        Expr::Cast(cast) => cast.field.data_type().is_string(),
        Expr::ScalarFunction(function) => TOTAL.contains(&function.name()),
        _ => false,
    };
    filter.exists(|expression| Ok(!is_total(expression))).unwrap_or(true)
}

/// Makes a condition on a text column out of a filter.
pub(super) fn condition(
    filter: &Expr,
    column: usize,
    schema: &SchemaRef,
    session: &dyn Session,
) -> Result<Condition> {
    let own = Arc::new(Schema::new(vec![schema.field(column).clone()]));
    let expression =
        session.create_physical_expr(filter.clone(), &DFSchema::try_from(Arc::clone(&own))?)?;
    let test = move |texts: StringViewArray| -> Option<BooleanArray> {
        let n_rows = texts.len();
        let rows = RecordBatch::try_new(Arc::clone(&own), vec![Arc::new(texts)]).ok()?;
        let holds = expression.evaluate(&rows).ok()?.into_array(n_rows).ok()?;
        holds.as_boolean_opt().cloned()
    };
    Ok(Condition::new(column, may_fail(filter), filter.to_string(), test))
}
