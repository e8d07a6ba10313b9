//! tokenizer.json: loading and encoding.

use crate::abi::{borrowed, guarded, run, utf8, Buffer, Code, Failure, Outcome};
use crate::fast::Fast;
use crate::vocabulary::{Start, Vocabulary};
use serde::Deserialize;
use tokenizers::{AddedVocabulary, Model, OffsetType, PreTokenizer};

pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// A copy of `inner`'s that leaves the text of special tokens alone.
    literal: AddedVocabulary,
    vocabulary: Vocabulary,
    may_cut: bool,
    fast: Option<Fast>,
}

impl Tokenizer {
    fn load(json: &[u8]) -> Outcome<Self> {
        let damaged = |error: String| Failure::new(Code::FailedPrecondition, error);
        let mut inner =
            tokenizers::Tokenizer::from_bytes(json).map_err(|error| damaged(error.to_string()))?;
        check_added_tokens(&inner, json)?;
        // A prompt is never cut or padded behind the user's back, whatever the file was saved with.
        inner.with_truncation(None).map_err(|error| damaged(error.to_string()))?;
        inner.with_padding(None);
        let mut literal = inner.get_added_vocabulary().clone();
        literal.set_encode_special_tokens(true);
        let vocabulary = Vocabulary::of(&inner)?;
        let may_cut = crate::cuts::may_cut(&inner);
        let fast = Fast::of(&inner, json);
        Ok(Self { inner, literal, vocabulary, may_cut, fast })
    }

    fn encode(&self, text: &str, flags: u32) -> Outcome<Vec<u32>> {
        let add_special = flags & ADD_SPECIAL != 0;
        if flags & (LITERAL_SPECIAL | REFERENCE) == 0 {
            let fast = self.fast.as_ref().and_then(|fast| fast.encode(text, add_special));
            if let Some(ids) = fast {
                return Ok(ids);
            }
        }
        let result = if flags & LITERAL_SPECIAL != 0 {
            self.encode_literal(text, add_special)
        } else {
            self.inner.encode_fast(text, add_special).map(|encoding| encoding.get_ids().to_vec())
        };
        result.map_err(|error| Failure::new(Code::InvalidArgument, error))
    }

    /// The steps of `encode_fast`, but with `literal` in place of the tokenizer's own added tokens.
    fn encode_literal(&self, text: &str, add_special: bool) -> tokenizers::Result<Vec<u32>> {
        let mut pieces = self.literal.extract_and_normalize(self.inner.get_normalizer(), text);
        if let Some(pre_tokenizer) = self.inner.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut pieces)?;
        }
        pieces.tokenize(|piece| self.inner.get_model().tokenize(piece.get()))?;
        let encoding = pieces.into_encoding(None, 0, OffsetType::None)?;
        // A few models can reach a control token from plain text all the same (Unigram, BPE with
        // ignore_merges). There is no other spelling of that text, so say so.
        if let Some(id) = encoding.get_ids().iter().find(|id| self.vocabulary.is_special(**id)) {
            let token = self.inner.id_to_token(*id).unwrap_or_default();
            return Err(format!("this tokenizer cannot spell control token {token} as text").into());
        }
        Ok(self.inner.post_process(encoding, None, add_special)?.get_ids().to_vec())
    }
}

/// The library renumbers added tokens that do not follow the vocabulary without a gap, and only logs
/// it. Serving with ids that differ from the file's would feed the model other tokens: refuse.
fn check_added_tokens(tokenizer: &tokenizers::Tokenizer, json: &[u8]) -> Outcome<()> {
    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        added_tokens: Vec<Added>,
    }
    #[derive(Deserialize)]
    struct Added {
        id: u32,
        content: String,
    }
    let file: File = serde_json::from_slice(json)
        .map_err(|error| Failure::new(Code::FailedPrecondition, error))?;
    for token in file.added_tokens.iter().filter(|token| !token.content.is_empty()) {
        let id = tokenizer.token_to_id(&token.content);
        if id != Some(token.id) {
            let Added { id: wanted, content } = token;
            let message = format!("added_tokens: {content:?} has id {wanted} but loads as {id:?}");
            return Err(Failure::new(Code::FailedPrecondition, message));
        }
    }
    Ok(())
}

#[no_mangle]
pub unsafe extern "C" fn baton_text_tokenizer_load(
    json: *const u8,
    size: usize,
    out: &mut *mut Tokenizer,
    error: &mut Buffer<u8>,
) -> Code {
    let load = || Tokenizer::load(borrowed(json, size));
    run(error, load, |tokenizer| *out = Box::into_raw(Box::new(tokenizer)))
}

#[no_mangle]
pub unsafe extern "C" fn baton_text_tokenizer_free(tokenizer: *mut Tokenizer) {
    if !tokenizer.is_null() {
        drop(Box::from_raw(tokenizer));
    }
}

const ADD_SPECIAL: u32 = 1;
const LITERAL_SPECIAL: u32 = 2;
const REFERENCE: u32 = 4;

#[no_mangle]
pub unsafe extern "C" fn baton_text_tokenizer_encode(
    tokenizer: &Tokenizer,
    text: *const u8,
    size: usize,
    flags: u32,
    out: &mut Buffer<u32>,
    error: &mut Buffer<u8>,
) -> Code {
    let encode = || {
        let text = utf8(borrowed(text, size))?;
        tokenizer.encode(text, flags)
    };
    run(error, encode, |ids| *out = Buffer::new(ids))
}

#[no_mangle]
pub unsafe extern "C" fn baton_text_tokenizer_id(
    tokenizer: &Tokenizer,
    token: *const u8,
    size: usize,
) -> i64 {
    let find = || Ok(tokenizer.inner.token_to_id(utf8(borrowed(token, size))?));
    guarded(find).ok().flatten().map_or(-1, i64::from)
}

#[no_mangle]
pub extern "C" fn baton_text_tokenizer_may_cut(tokenizer: &Tokenizer) -> bool {
    tokenizer.may_cut
}

#[no_mangle]
pub extern "C" fn baton_text_tokenizer_is_fast(tokenizer: &Tokenizer) -> bool {
    tokenizer.fast.is_some()
}

/// `baton_text_vocabulary`
#[repr(C)]
pub struct VocabularyView {
    bytes: *const u8,
    ends: *const u32,
    traits: *const u8,
    size: usize,
    start: Start,
    start_spaces_max: u32,
}

#[no_mangle]
pub unsafe extern "C" fn baton_text_tokenizer_vocabulary(tokenizer: &Tokenizer) -> VocabularyView {
    let vocabulary = &tokenizer.vocabulary;
    VocabularyView {
        bytes: vocabulary.bytes.as_ptr(),
        ends: vocabulary.ends.as_ptr(),
        traits: vocabulary.traits.as_ptr(),
        size: vocabulary.ends.len(),
        start: vocabulary.start,
        start_spaces_max: vocabulary.start_spaces_max,
    }
}
