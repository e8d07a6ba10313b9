//! What crosses the border: borrowed slices in, owned buffers out, codes for errors, no panics.

use std::cell::RefCell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;

/// The values of `baton_text_code`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Ok = 0,
    InvalidArgument = 1,
    FailedPrecondition = 2,
    Unimplemented = 3,
    Internal = 4,
}

#[derive(Debug)]
pub struct Failure {
    pub code: Code,
    pub message: String,
}

impl Failure {
    pub fn new(code: Code, message: impl ToString) -> Self {
        Self { code, message: message.to_string() }
    }
}

pub type Outcome<T> = Result<T, Failure>;

/// A boxed slice as C sees it: `baton_text_bytes` and `baton_text_ids`.
#[repr(C)]
pub struct Buffer<T> {
    data: *mut T,
    size: usize,
}

impl<T> Buffer<T> {
    pub fn new(values: Vec<T>) -> Self {
        let values = Box::leak(values.into_boxed_slice());
        Self { data: values.as_mut_ptr(), size: values.len() }
    }

    /// # Safety
    /// `self` came from `new` and was not released before.
    unsafe fn release(self) {
        if !self.data.is_null() {
            drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(self.data, self.size)));
        }
    }
}

#[no_mangle]
pub unsafe extern "C" fn baton_text_bytes_free(bytes: Buffer<u8>) {
    bytes.release();
}

#[no_mangle]
pub unsafe extern "C" fn baton_text_ids_free(ids: Buffer<u32>) {
    ids.release();
}

/// # Safety
/// `data` points at `size` readable bytes, or `size` is 0.
pub unsafe fn borrowed<'a>(data: *const u8, size: usize) -> &'a [u8] {
    if size == 0 {
        return &[];
    }
    std::slice::from_raw_parts(data, size)
}

pub fn utf8(bytes: &[u8]) -> Outcome<&str> {
    std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("invalid UTF-8 at byte {}", error.valid_up_to());
        Failure::new(Code::InvalidArgument, message)
    })
}

/// Runs `body`; on success hands its value to `accept`, else writes the message to `error`.
pub fn run<T>(
    error: &mut Buffer<u8>,
    body: impl FnOnce() -> Outcome<T>,
    accept: impl FnOnce(T),
) -> Code {
    match guarded(body) {
        Ok(value) => {
            accept(value);
            Code::Ok
        }
        Err(failure) => {
            *error = Buffer::new(failure.message.into_bytes());
            failure.code
        }
    }
}

thread_local! {
    /// Some while this thread is inside `guarded`: where the panic hook leaves its message.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Turns a panic into a Failure, and keeps it from printing to stderr.
pub fn guarded<T>(body: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    install_panic_hook();
    PANIC.set(Some(String::new()));
    let result = catch_unwind(AssertUnwindSafe(body));
    let panic = PANIC.take().unwrap_or_default();
    result.unwrap_or_else(|_| Err(Failure::new(Code::Internal, panic)))
}

fn install_panic_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let ours = PANIC.with_borrow_mut(|slot| match slot {
                Some(message) => {
                    *message = info.to_string();
                    true
                }
                None => false,
            });
            if !ours {
                previous(info);
            }
        }));
    });
}
