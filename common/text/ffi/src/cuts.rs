//! Where a text may be cut so that its parts, encoded apart, give the tokens of the whole.
//!
//! Behind a line break with something visible in front of it and an ASCII letter behind it: every
//! pattern below ends a match there and begins the next one, whatever else the text has. The break
//! alone is matched by `\s+` or `\s*[\r\n]+`, or goes to the punctuation in front of it by `[\r\n]*`;
//! no alternative takes a break in front of letters (`[^\r\n\p{L}\p{N}]?` leaves it out), none looks
//! behind, and the one that looks ahead, `\s+(?!\S)`, needs two blanks.

use serde::Serialize;
use serde_json::Value;
use tokenizers::{ModelWrapper, Tokenizer};

/// As tokenizer.json files write them: cl100k's and Llama 3's, Qwen's, o200k's.
const PATTERNS: [&str; 3] = [
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];

pub fn may_cut(tokenizer: &Tokenizer) -> bool {
    plain_model(tokenizer.get_model())
        && keeps_boundaries(&json(tokenizer.get_normalizer()))
        && splits(&json(tokenizer.get_pre_tokenizer())) == Some(true)
        && tokenizer.get_added_tokens_decoder().values().all(|token| {
            let letter = token.content.starts_with(|c: char| c.is_ascii_alphabetic());
            !token.single_word && !letter && !token.content.contains('\n')
        })
}

fn json(part: Option<&impl Serialize>) -> Value {
    serde_json::to_value(part).unwrap_or(Value::Null)
}

fn plain_model(model: &ModelWrapper) -> bool {
    matches!(model, ModelWrapper::BPE(bpe) if bpe.dropout.is_none())
}

/// NFC joins nothing to a line break, nor a letter to what is in front of it.
fn keeps_boundaries(normalizer: &Value) -> bool {
    normalizer.is_null() || normalizer["type"] == "NFC"
}

/// Whether a pre-tokenizer splits at such a place; none: it is not known.
fn splits(step: &Value) -> Option<bool> {
    match step["type"].as_str()? {
        "Sequence" => {
            let steps = step["pretokenizers"].as_array()?;
            let each: Option<Vec<bool>> = steps.iter().map(splits).collect();
            Some(each?.contains(&true))
        }
        "Digits" => Some(false),
        // With its own pattern: GPT-2's.
        "ByteLevel" if step["add_prefix_space"] == false => Some(step["use_regex"] != false),
        "Split" if step["behavior"] == "Isolated" && step["invert"] == false => {
            PATTERNS.contains(&step["pattern"]["Regex"].as_str()?).then_some(true)
        }
        _ => None,
    }
}
