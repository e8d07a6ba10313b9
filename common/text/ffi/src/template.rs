//! Chat templates: the Jinja dialect in which Hugging Face model folders describe a conversation.

use crate::abi::{borrowed, run, utf8, Buffer, Code, Failure, Outcome};
use crate::python_json::tojson;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value};
use minijinja_contrib::pycompat;
use std::collections::HashMap;
use std::error::Error as _;

const NAME: &str = "chat_template";

/// Instructions one rendering may take. A long conversation with tools takes some ten thousand; a
/// template with nested loops over a hostile list ends here.
const FUEL: u64 = 10_000_000;

pub struct Template {
    environment: Environment<'static>,
}

impl Template {
    fn compile(source: &str) -> Outcome<Self> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| Failure::new(Code::Internal, error))?);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_unknown_method_callback(pycompat::unknown_method_callback);
        environment.set_fuel(Some(FUEL));
        environment.add_filter("tojson", tojson);
        environment.add_function("raise_exception", raise_exception);
        environment
            .add_template_owned(NAME, without_generation_marks(source))
            .map_err(|error| Failure::new(Code::FailedPrecondition, describe(&error)))?;
        Ok(Self { environment })
    }

    fn render(&self, context: &[u8], now: i64) -> Outcome<String> {
        let mut variables: HashMap<String, Value> = serde_json::from_slice(context)
            .map_err(|error| Failure::new(Code::InvalidArgument, error))?;
        let strftime = move |format: String| strftime(&format, now);
        variables.insert("strftime_now".to_string(), Value::from_function(strftime));
        self.environment
            .get_template(NAME)
            .and_then(|template| template.render(variables))
            .map_err(|error| failure(&error))
    }
}

/// What a template says about the messages it was given, by raise_exception().
#[derive(Debug)]
struct Raised(String);

impl std::fmt::Display for Raised {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Raised(message)))
}

/// Whose mistake it is: a template that needs what we lack is the model's, all else the messages'.
fn failure(error: &Error) -> Failure {
    if let Some(message) = raised(error) {
        return Failure::new(Code::InvalidArgument, message);
    }
    let code = match error.kind() {
        ErrorKind::UnknownFilter
        | ErrorKind::UnknownFunction
        | ErrorKind::UnknownMethod
        | ErrorKind::UnknownTest
        | ErrorKind::TemplateNotFound => Code::FailedPrecondition,
        _ => Code::InvalidArgument,
    };
    Failure::new(code, describe(error))
}

fn raised(error: &Error) -> Option<String> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(raised) = cause.downcast_ref::<Raised>() {
            return Some(raised.0.clone());
        }
        source = cause.source();
    }
    None
}

fn describe(error: &Error) -> String {
    let what = error.detail().map_or(error.kind().to_string(), str::to_string);
    match error.line() {
        Some(line) => format!("line {line}: {what}"),
        None => what,
    }
}

/// {% generation %} … {% endgeneration %} marks the assistant's words for training and changes
/// nothing in the text. An if that always holds is the same, down to the trimmed blanks.
fn without_generation_marks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(end) = rest[start..].find("%}").map(|end| start + end) else { break };
        let tag = &rest[start + 2..end];
        let word = tag.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        let replacement = match word {
            "generation" => tag.replace("generation", "if true"),
            "endgeneration" => tag.replace("endgeneration", "endif"),
            _ => tag.to_string(),
        };
        out.push_str(&rest[..start + 2]);
        out.push_str(&replacement);
        out.push_str("%}");
        rest = &rest[end + 2..];
    }
    out.push_str(rest);
    out
}

/// The local date and time in C's notation ("%d %b %Y").
fn strftime(format: &str, now: i64) -> Result<String, Error> {
    let invalid =
        |why: &str| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {why}"));
    // A leading character tells an empty result from one that does not fit.
    let format = std::ffi::CString::new(format!(".{format}")).map_err(|_| invalid("zero byte"))?;
    let mut out = [0u8; 1024];
    let size = unsafe {
        let mut fields: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&(now as libc::time_t), &mut fields).is_null() {
            return Err(invalid("time out of range"));
        }
        libc::strftime(out.as_mut_ptr().cast(), out.len(), format.as_ptr(), &fields)
    };
    if size == 0 {
        return Err(invalid("format too long"));
    }
    Ok(String::from_utf8_lossy(&out[1..size]).into_owned())
}

#[no_mangle]
pub unsafe extern "C" fn baton_text_template_compile(
    source: *const u8,
    size: usize,
    out: &mut *mut Template,
    error: &mut Buffer<u8>,
) -> Code {
    let compile = || Template::compile(utf8(borrowed(source, size))?);
    run(error, compile, |template| *out = Box::into_raw(Box::new(template)))
}

#[no_mangle]
pub unsafe extern "C" fn baton_text_template_free(template: *mut Template) {
    if !template.is_null() {
        drop(Box::from_raw(template));
    }
}

#[no_mangle]
pub unsafe extern "C" fn baton_text_template_render(
    template: &Template,
    context: *const u8,
    size: usize,
    now: i64,
    out: &mut Buffer<u8>,
) -> Code {
    let mut text = None;
    let render = || template.render(borrowed(context, size), now);
    let code = run(out, render, |rendered| text = Some(rendered));
    if let Some(text) = text {
        *out = Buffer::new(text.into_bytes());
    }
    code
}
