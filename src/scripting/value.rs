//! Values of scripts, away from the machine that made them.

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Nil,
    Boolean(bool),
    Number(f64),
    Text(Vec<u8>),
    Table(Table),
    /// `cjson.null`
    Null,
    /// What has no place outside the machine: the name of its kind.
    Other(&'static str),
    /// A table below the deepest level that was asked for.
    TooDeep,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// In the order of Lua's `next`.
    pub entries: Vec<(Value, Value)>,
    /// What Lua's `#` says.
    pub len: usize,
}

impl Value {
    /// The name of its kind, as messages show it.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Nil => "nil",
            Value::Boolean(_) => "boolean",
            Value::Number(_) => "number",
            Value::Text(_) => "string",
            Value::Table(_) | Value::TooDeep => "table",
            Value::Null => "userdata",
            Value::Other(name) => name,
        }
    }
}

impl Table {
    /// The entries whose keys are whole numbers from 1 on, sorted, if all are; else none.
    pub fn items(&self) -> Option<Vec<(f64, &Value)>> {
        let mut items = Vec::with_capacity(self.entries.len());
        let mut sorted = true;
        for (key, value) in &self.entries {
            let Value::Number(index) = key else { return None };
            if *index < 1.0 || index.floor() != *index {
                return None;
            }
            sorted &= items.last().is_none_or(|(last, _)| last < index);
            items.push((*index, value));
        }
        if !sorted {
            items.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        Some(items)
    }
}
