//! The same tokens, many times sooner: `fastokens`, for the tokenizers that it is certain about.
//!
//! `tokenizers` says what the tokens are. `fastokens` reads the same file and is asked instead where both are known to
//! agree: the forms of `cuts.rs`, whose added tokens stand for exactly their text. At load it has to repeat what
//! `tokenizers` makes of `probes`; a tokenizer on which it errs once is encoded the slow way. So is a text that it
//! refuses.

use crate::cuts;
use serde_json::{json, Value};
use std::panic::{catch_unwind, AssertUnwindSafe};

pub struct Fast(fastokens::Tokenizer);

impl Fast {
    /// None: not for this tokenizer.
    pub fn of(reference: &tokenizers::Tokenizer, file: &[u8]) -> Option<Self> {
        let added = reference.get_added_tokens_decoder();
        if !cuts::may_cut(reference) || added.values().any(|token| token.lstrip || token.rstrip) {
            return None;
        }
        let mut file: Value = serde_json::from_slice(file).ok()?;
        file["truncation"] = Value::Null;
        file["padding"] = Value::Null;
        spell_out(&mut file["pre_tokenizer"]);
        let load = || fastokens::Tokenizer::from_json(file).ok();
        let fast = Self(catch_unwind(AssertUnwindSafe(load)).ok()??);
        let names: Vec<&str> = added.values().map(|token| token.content.as_str()).collect();
        let agrees = |text: String| {
            [false, true].iter().all(|&add_special| {
                let ids = reference.encode_fast(text.as_str(), add_special);
                ids.is_ok_and(|ids| {
                    Some(ids.get_ids()) == fast.encode(&text, add_special).as_deref()
                })
            })
        };
        probes(&names).into_iter().all(agrees).then_some(fast)
    }

    /// None: ask the reference, which has the words for what is wrong.
    pub fn encode(&self, text: &str, add_special: bool) -> Option<Vec<u32>> {
        let encode = || self.0.encode_with_special_tokens(text, add_special).ok();
        catch_unwind(AssertUnwindSafe(encode)).ok()?
    }
}

/// GPT-2's pattern is a step of its own here: `fastokens` compiles such steps, and interprets it inside of ByteLevel.
fn spell_out(step: &mut Value) {
    const GPT2: &str =
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
    if let Some(steps) = step.get_mut("pretokenizers").and_then(Value::as_array_mut) {
        return steps.iter_mut().for_each(spell_out);
    }
    if step["type"] != "ByteLevel" || step["use_regex"] == false {
        return;
    }
    let mut bytes = step.take();
    bytes["use_regex"] = json!(false);
    let split = json!({"type": "Split", "pattern": {"Regex": GPT2}, "behavior": "Isolated", "invert": false});
    *step = json!({"type": "Sequence", "pretokenizers": [split, bytes]});
}

/// Texts on which tokenizers differ when they differ: every kind of character beside every other, blanks and line
/// breaks in runs, contractions, marks that NFC joins, the tokenizer's own added tokens, whole and cut short.
fn probes(names: &[&str]) -> Vec<String> {
    #[rustfmt::skip]
    const BITS: [&str; 44] = [
        "a", "B", "the", "Word", "x1", "7", "2024", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n",
        "'s", "'T", "'ll", "'RE", "\u{2019}s", ".", ",", "!?", "--", "/", "<|", "|>", "_",
        "\u{e9}", "e\u{301}", "\u{df}", "\u{17f}", "\u{130}", "\u{416}", "\u{5d0}", "\u{4f60}\u{597d}",
        "\u{1f600}", "\u{1f469}\u{200d}\u{1f4bb}", "\u{a0}", "\u{2028}", "\u{3000}", "\u{85}", "\u{661}", "\u{2460}",
    ];
    const TEXTS: usize = 160;
    const PIECES: u64 = 40;
    let mut state = 1u64;
    let mut below = |limit: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % limit
    };
    (0..TEXTS)
        .map(|_| {
            let mut text = String::new();
            for _ in 0..below(PIECES) + 1 {
                if below(12) == 0 && !names.is_empty() {
                    let name = names[below(names.len() as u64) as usize];
                    let whole = below(3) > 0;
                    let end = name.char_indices().last().map_or(0, |(last, _)| last);
                    text.push_str(if whole { name } else { &name[..end] });
                } else {
                    text.push_str(BITS[below(BITS.len() as u64) as usize]);
                }
            }
            text
        })
        .collect()
}
