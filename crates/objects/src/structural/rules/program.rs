//! Rules as programs: compiled once, kept, and run over plain values.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use cel::{Context, Env, ExecutionError, Program, extensions};
use serde_json::Value;

/// Compiled rules that are kept; past that all are forgotten, and compiled again when needed.
const MAX_KEPT: usize = 2048;

/// What came of a rule.
pub enum Verdict {
    Holds,
    Fails,
    /// It failed over this value, as by asking for what is not there.
    Error(String),
    /// It cannot be run here at all.
    Unknown(String),
}

pub fn evaluate(source: &str, new: &Value, old: Option<&Value>) -> Verdict {
    match run(source, new, old) {
        Ok(cel::Value::Bool(true)) => Verdict::Holds,
        Ok(cel::Value::Bool(false)) => Verdict::Fails,
        Ok(_) => Verdict::Unknown("it is neither true nor false".to_owned()),
        Err(Failure::Program(why)) => Verdict::Unknown(why),
        Err(Failure::Run(ExecutionError::UndeclaredReference(name))) => {
            Verdict::Unknown(format!("{name} is not known here"))
        }
        Err(Failure::Run(error)) => Verdict::Error(error.to_string()),
    }
}

/// The text that an expression makes, if it does.
pub fn say(source: &str, new: &Value, old: Option<&Value>) -> Option<String> {
    match run(source, new, old) {
        Ok(cel::Value::String(text)) => Some(text.to_string()),
        _ => None,
    }
}

enum Failure {
    Program(String),
    Run(ExecutionError),
}

fn run(source: &str, new: &Value, old: Option<&Value>) -> Result<cel::Value, Failure> {
    let program = compiled(source).map_err(Failure::Program)?;
    let mut context = Context::with_env(ENV.clone());
    let mut declare = |name: &str, value: &Value| {
        context.add_variable(name, value).map_err(|e| Failure::Program(e.to_string()))
    };
    declare("self", new)?;
    if let Some(old) = old {
        declare("oldSelf", old)?;
    }
    let declared = context.add_function("duration", duration);
    declared.map_err(|e| Failure::Program(e.to_string()))?;
    program.execute(&context).map_err(Failure::Run)
}

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    // Each is added once, so none is there already.
    let _ = env.add_extension(extensions::strings);
    let _ = env.add_extension(extensions::lists);
    Arc::new(env)
});

fn compiled(source: &str) -> Result<Arc<Program>, String> {
    type Kept = HashMap<String, Result<Arc<Program>, String>>;
    static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(program) = kept.get(source) {
        return program.clone();
    }
    let program = ENV.compile(source).map(Arc::new).map_err(|e| e.to_string());
    if kept.len() >= MAX_KEPT {
        kept.clear();
    }
    kept.insert(source.to_owned(), program.clone());
    program
}

/// Nanoseconds of `1h30m`, `1.5s` or `100ms`, which can be compared and added.
fn duration(text: Arc<String>) -> Result<i64, ExecutionError> {
    nanoseconds(&text).ok_or_else(|| ExecutionError::FunctionError {
        function: "duration".to_owned(),
        message: format!("{text:?} is not a duration"),
    })
}

pub fn nanoseconds(text: &str) -> Option<i64> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1.0),
        ("us", 1e3),
        ("µs", 1e3),
        ("ms", 1e6),
        ("h", 3600e9),
        ("m", 60e9),
        ("s", 1e9),
    ];
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut sum = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let (unit, size) = UNITS.iter().find(|(unit, _)| rest[end..].starts_with(unit))?;
        sum += number * size;
        rest = &rest[end + unit.len()..];
    }
    let known = !text.is_empty() && sum <= i64::MAX as f64;
    known.then_some(if negative { -(sum as i64) } else { sum as i64 })
}

/// Whether a rule is about a change.
pub fn mentions_old(source: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    source.split(|c| !word(c)).any(|part| part == "oldSelf")
}

/// How many loops stand in one another at most; text in quotes is none.
pub fn nesting(source: &str) -> u32 {
    const LOOPS: [&str; 5] = ["all", "exists", "exists_one", "map", "filter"];
    let (mut open, mut deepest) = (Vec::new(), 0);
    let (mut word, mut quote) = (String::new(), None);
    for c in source.chars() {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None if c == '(' => {
                open.push(LOOPS.contains(&word.as_str()));
                deepest = deepest.max(open.iter().filter(|is_loop| **is_loop).count());
            }
            None if c == ')' => drop(open.pop()),
            None => {}
        }
        if c.is_ascii_alphanumeric() || c == '_' { word.push(c) } else { word.clear() }
    }
    u32::try_from(deepest).unwrap_or(u32::MAX)
}
