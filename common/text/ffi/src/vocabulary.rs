//! Every token as the raw bytes it stands for, worked out once from the tokenizer's decoder.
//!
//! The decoder of tokenizer.json is a chain of text rewrites over a whole sequence. For the kinds
//! that language models use it is the same as: concatenate each token's bytes, treat the very start
//! specially, read the result as UTF-8. That form can be streamed; a decoder that cannot be put into
//! it is refused.

use crate::abi::{Code, Failure, Outcome};
use serde_json::Value;
use tokenizers::Tokenizer;

/// Far above any real vocabulary; keeps a damaged file from asking for gigabytes.
const ID_LIMIT: u32 = 1 << 24;

pub const EXISTS: u8 = 1;
pub const SPECIAL: u8 = 2;

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    AsIs = 0,
    StripSpaces = 1,
    FirstTokenBare = 2,
}

pub struct Vocabulary {
    pub bytes: Vec<u8>,
    pub ends: Vec<u32>,
    pub traits: Vec<u8>,
    pub start: Start,
    pub start_spaces_max: u32,
}

impl Vocabulary {
    pub fn of(tokenizer: &Tokenizer) -> Outcome<Self> {
        let spelling = Spelling::of(tokenizer)?;
        let tokens = by_id(tokenizer)?;
        let added = tokenizer.get_added_vocabulary();
        let mut vocabulary = Self {
            bytes: Vec::new(),
            ends: Vec::with_capacity(tokens.len()),
            traits: Vec::with_capacity(tokens.len()),
            start: spelling.start,
            start_spaces_max: spelling.start_spaces_max,
        };
        for token in tokens {
            let mut traits = 0;
            if let Some(token) = token {
                traits |= EXISTS;
                if added.is_special_token(&token) {
                    traits |= SPECIAL;
                }
                vocabulary.bytes.extend(spelling.bytes_of(&token));
            }
            vocabulary.traits.push(traits);
            vocabulary.ends.push(vocabulary.bytes.len() as u32);
        }
        if vocabulary.bytes.len() > u32::MAX as usize {
            return Err(Failure::new(Code::Unimplemented, "the vocabulary is larger than 4 GiB"));
        }
        Ok(vocabulary)
    }

    pub fn is_special(&self, id: u32) -> bool {
        self.traits.get(id as usize).is_some_and(|traits| traits & SPECIAL != 0)
    }
}

fn by_id(tokenizer: &Tokenizer) -> Outcome<Vec<Option<String>>> {
    let vocabulary = tokenizer.get_vocab(true);
    let Some(last) = vocabulary.values().max() else {
        return Err(Failure::new(Code::FailedPrecondition, "the vocabulary is empty"));
    };
    if *last >= ID_LIMIT {
        let message = format!("token id {last} is above the limit of {ID_LIMIT}");
        return Err(Failure::new(Code::FailedPrecondition, message));
    }
    Ok((0..=*last).map(|id| tokenizer.id_to_token(id)).collect())
}

/// How one token's text becomes bytes.
struct Spelling {
    byte_level: bool,
    replacements: Vec<(String, String)>,
    byte_fallback: bool,
    start: Start,
    start_spaces_max: u32,
}

impl Spelling {
    fn of(tokenizer: &Tokenizer) -> Outcome<Self> {
        let decoder = serde_json::to_value(tokenizer.get_decoder())
            .map_err(|error| Failure::new(Code::Internal, error))?;
        let steps = match decoder.get("decoders").and_then(Value::as_array) {
            Some(steps) => steps.clone(),
            None => vec![decoder],
        };
        let mut spelling = Self {
            byte_level: false,
            replacements: Vec::new(),
            byte_fallback: false,
            start: Start::AsIs,
            start_spaces_max: 0,
        };
        let mut stage = Stage::Tokens;
        for step in &steps {
            stage = spelling.add(step, stage).ok_or_else(|| unsupported(step))?;
        }
        Ok(spelling)
    }

    /// Takes one more decoder of the chain in, or None where the chain is not of a known form.
    fn add(&mut self, step: &Value, stage: Stage) -> Option<Stage> {
        match (step.get("type")?.as_str()?, stage) {
            ("ByteLevel", Stage::Tokens) if self.replacements.is_empty() => {
                self.byte_level = true;
                Some(Stage::Done)
            }
            ("Metaspace", Stage::Tokens) => {
                let mark = step.get("replacement")?.as_str()?.to_string();
                self.replacements.push((mark, " ".to_string()));
                if step.get("prepend_scheme").and_then(Value::as_str) != Some("never") {
                    self.start = Start::FirstTokenBare;
                }
                Some(Stage::Marked)
            }
            ("Replace", Stage::Tokens) => {
                let from = step.get("pattern")?.get("String")?.as_str()?;
                let to = step.get("content")?.as_str()?;
                self.replacements.push((from.to_string(), to.to_string()));
                Some(Stage::Tokens)
            }
            ("ByteFallback", Stage::Tokens | Stage::Marked) => {
                self.byte_fallback = true;
                Some(Stage::Bytes)
            }
            ("Fuse", Stage::Tokens | Stage::Marked | Stage::Bytes) => Some(Stage::Fused),
            ("Strip", Stage::Fused) if self.start == Start::AsIs => {
                if step.get("content")?.as_str()? != " " || step.get("stop")?.as_u64()? != 0 {
                    return None;
                }
                self.start = Start::StripSpaces;
                self.start_spaces_max = u32::try_from(step.get("start")?.as_u64()?).ok()?;
                Some(Stage::Done)
            }
            _ => None,
        }
    }

    fn bytes_of(&self, token: &str) -> Vec<u8> {
        if self.byte_level {
            return byte_level(token).unwrap_or_else(|| token.as_bytes().to_vec());
        }
        let mut text = token.to_string();
        for (from, to) in &self.replacements {
            text = text.replace(from, to);
        }
        match fallback_byte(&text) {
            Some(byte) if self.byte_fallback => vec![byte],
            _ => text.into_bytes(),
        }
    }
}

/// What the chain's values are by now: one text per token, with marks made blanks, with byte tokens
/// resolved, or one text for all.
#[derive(Clone, Copy)]
enum Stage {
    Tokens,
    Marked,
    Bytes,
    Fused,
    Done,
}

fn unsupported(step: &Value) -> Failure {
    let known = "ByteLevel, or Metaspace or Replace before ByteFallback, Fuse, Strip";
    let message = format!("decoder: {step} is not supported here (known: {known})");
    Failure::new(Code::Unimplemented, message)
}

/// "<0x0A>" is byte 10.
fn fallback_byte(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() != 2 {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

/// Byte-level vocabularies write a byte as a visible character: the printable ones of Latin-1 as
/// themselves, the other 68 in order from U+0100. None where a character is outside that alphabet.
fn byte_level(token: &str) -> Option<Vec<u8>> {
    token.chars().map(byte_of_char).collect()
}

fn byte_of_char(c: char) -> Option<u8> {
    match c as u32 {
        c @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => Some(c as u8),
        c @ 0x100..=0x120 => Some((c - 0x100) as u8), // 0x00 … 0x20
        c @ 0x121..=0x142 => Some((c - 0x121 + 0x7f) as u8), // 0x7f … 0xa0
        0x143 => Some(0xad),
        _ => None,
    }
}
