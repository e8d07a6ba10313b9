#pragma once

// The C border between Baton and the Rust libraries it uses for text. Only common/text includes it.
//
// Rules that hold for every function:
// - Pointers in are borrowed for the call. (NULL, 0) is an empty string.
// - Every function that can fail returns a code and fills `out`: on BATON_TEXT_OK with its result,
//   else with a UTF-8 message for people. Either way the caller frees it.
// - A panic on the Rust side never crosses: it is BATON_TEXT_INTERNAL with the panic's message.
// - Handles are immutable after loading: any number of threads may use one at the same time.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  BATON_TEXT_OK = 0,
  BATON_TEXT_INVALID_ARGUMENT = 1,     // the caller's text or messages
  BATON_TEXT_FAILED_PRECONDITION = 2,  // the model's tokenizer or template
  BATON_TEXT_UNIMPLEMENTED = 3,        // well-formed, but a kind that Baton does not know
  BATON_TEXT_INTERNAL = 4,             // a panic
} baton_text_code;

// Owned by Rust; free with the function below it, once. Freeing {NULL, 0} does nothing.
typedef struct {
  uint8_t* data;
  size_t size;
} baton_text_bytes;
void baton_text_bytes_free(baton_text_bytes bytes);

typedef struct {
  uint32_t* data;
  size_t size;
} baton_text_ids;
void baton_text_ids_free(baton_text_ids ids);

// ---- tokenizer.json ---------------------------------------------------------------------------
typedef struct baton_text_tokenizer baton_text_tokenizer;

// `*out` is set on success only; `*error` on failure only.
baton_text_code baton_text_tokenizer_load(const uint8_t* json, size_t size,
                                          baton_text_tokenizer** out, baton_text_bytes* error);
void baton_text_tokenizer_free(baton_text_tokenizer* tokenizer);

enum {
  BATON_TEXT_ADD_SPECIAL = 1,      // what the post-processor adds: usually BOS
  BATON_TEXT_LITERAL_SPECIAL = 2,  // the text of a control token is text, not the control token
  BATON_TEXT_REFERENCE = 4,        // by the reference library, whether or not a faster one would do
};
baton_text_code baton_text_tokenizer_encode(const baton_text_tokenizer* tokenizer,
                                            const uint8_t* text, size_t size, uint32_t flags,
                                            baton_text_ids* out, baton_text_bytes* error);

// The id of a token by its text in the vocabulary, or -1.
int64_t baton_text_tokenizer_id(const baton_text_tokenizer* tokenizer, const uint8_t* token,
                                size_t size);

// Whether a text cut behind line breaks that have a character other than white space in front of
// them and an ASCII letter behind them has the tokens of its parts, one after the other. For texts
// to which nothing is added. `false`: not known.
bool baton_text_tokenizer_may_cut(const baton_text_tokenizer* tokenizer);

// Whether a faster library than the reference encodes what may be parsed for control tokens. The
// tokens are the same.
bool baton_text_tokenizer_is_fast(const baton_text_tokenizer* tokenizer);

enum {
  BATON_TEXT_TOKEN_EXISTS = 1,
  BATON_TEXT_TOKEN_SPECIAL = 2,
};

// How the text that a sequence of tokens stands for begins.
typedef enum {
  BATON_TEXT_START_AS_IS = 0,
  BATON_TEXT_START_STRIP_SPACES = 1,      // up to `start_spaces_max` leading spaces are dropped
  BATON_TEXT_START_FIRST_TOKEN_BARE = 2,  // every space of the first token is dropped
} baton_text_start;

// The whole vocabulary as raw bytes: token i is bytes[ends[i - 1] … ends[i]). Borrowed: lives as
// long as the tokenizer.
typedef struct {
  const uint8_t* bytes;
  const uint32_t* ends;   // [size]
  const uint8_t* traits;  // [size] BATON_TEXT_TOKEN_*
  size_t size;            // largest id + 1
  baton_text_start start;
  uint32_t start_spaces_max;
} baton_text_vocabulary;
baton_text_vocabulary baton_text_tokenizer_vocabulary(const baton_text_tokenizer* tokenizer);

// ---- chat template ----------------------------------------------------------------------------
typedef struct baton_text_template baton_text_template;

baton_text_code baton_text_template_compile(const uint8_t* source, size_t size,
                                            baton_text_template** out, baton_text_bytes* error);
void baton_text_template_free(baton_text_template* chat_template);

// `context` is a JSON object: the template's variables. `now` is Unix time, for strftime_now.
baton_text_code baton_text_template_render(const baton_text_template* chat_template,
                                           const uint8_t* context, size_t size, int64_t now,
                                           baton_text_bytes* out);

#ifdef __cplusplus
}
#endif
