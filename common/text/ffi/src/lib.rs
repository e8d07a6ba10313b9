//! `tokenizers`, `fastokens` and `minijinja` behind the C functions of `include/baton_text.h`.

mod abi;
mod cuts;
mod fast;
mod python_json;
mod template;
mod tokenizer;
mod vocabulary;
