//! The work: prompts, events and queries.

use dynamo_kv_router::LocalBlockHash;
use dynamo_kv_router::protocols::{
    ExternalSequenceBlockHash, KvCacheEvent, KvCacheEventData, KvCacheRemoveData, KvCacheStoreData,
    KvCacheStoredBlockData, RouterEvent,
};

pub const PROMPT_BLOCKS: usize = 128;
const PREFIX_BLOCKS: usize = 64;
const PREFIXES: u64 = 200;
const WORKERS: u64 = 64;
const PROMPTS: u64 = 6400;
const QUERIES: u64 = 1000;
const BATCH: usize = 100;

/// Of this thread: what a shared machine gives to others does not count.
pub fn cpu_seconds() -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    now.tv_sec as f64 + 1e-9 * now.tv_nsec as f64
}

struct Prompt {
    worker: u64,
    hashes: Vec<u64>,
}

pub struct Work {
    pub rounds: usize,
    prompts: Vec<Prompt>,
    queries: Vec<Vec<LocalBlockHash>>,
    numbers: Vec<u64>, // of each worker's last event
}

/// Spreads what is counted over 64 bits.
fn mixed(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d049bb133111eb);
    value ^ (value >> 31)
}

fn hashes(prefix: u64, tail: u64) -> Vec<u64> {
    let of = |chain: u64, block: usize| mixed((chain + 1) << 20 | block as u64);
    let own = |block| if block < PREFIX_BLOCKS { of(prefix, block) } else { of(1000 + tail, block) };
    (0..PROMPT_BLOCKS).map(own).collect()
}

impl Work {
    pub fn new(rounds: usize) -> Self {
        let random = |seed: u64, below: u64| mixed(seed.wrapping_mul(0x9e3779b97f4a7c15)) % below;
        let prefix = |prompt: u64| random(2 * prompt, PREFIXES);
        let prompts = (0..PROMPTS)
            .map(|i| Prompt { worker: random(2 * i + 1, WORKERS), hashes: hashes(prefix(i), i) })
            .collect();
        // Prompts that are there, and new ones behind a known prefix, in turn.
        let query = |i: u64| match i % 2 {
            0 => {
                let known = random(i + (1 << 32), PROMPTS);
                hashes(prefix(known), known)
            }
            _ => hashes(random(i + (1 << 32), PREFIXES), 1_000_000 + i),
        };
        let local = |i| query(i).into_iter().map(LocalBlockHash).collect();
        Work { rounds, prompts, queries: (0..QUERIES).map(local).collect(), numbers: vec![0; WORKERS as usize] }
    }

    pub fn prompts(&self) -> usize {
        self.prompts.len()
    }
    pub fn batches(&self) -> usize {
        self.prompts.len() / BATCH
    }
    pub fn queries(&self) -> Vec<Vec<LocalBlockHash>> {
        self.queries.clone()
    }

    pub fn store_all(&mut self) -> Vec<RouterEvent> {
        (0..self.prompts.len()).map(|i| self.store(i, 0)).collect()
    }

    /// A batch of prompts loses its own blocks; stores them again; so many blocks.
    pub fn again(&mut self, batch: usize) -> (Vec<RouterEvent>, Vec<RouterEvent>, usize) {
        let own = batch * BATCH..(batch + 1) * BATCH;
        let drops = own.clone().map(|i| self.drop_own(i)).collect();
        let stores: Vec<_> = own.map(|i| self.store(i, PREFIX_BLOCKS)).collect();
        let blocks = stores.len() * (PROMPT_BLOCKS - PREFIX_BLOCKS);
        (drops, stores, blocks)
    }

    fn store(&mut self, prompt: usize, from: usize) -> RouterEvent {
        let hashes = &self.prompts[prompt].hashes;
        let block = |hash: &u64| KvCacheStoredBlockData {
            block_hash: ExternalSequenceBlockHash(*hash),
            tokens_hash: LocalBlockHash(*hash),
            mm_extra_info: None,
        };
        let stored = KvCacheStoreData {
            parent_hash: (from > 0).then(|| ExternalSequenceBlockHash(hashes[from - 1])),
            start_position: None,
            blocks: hashes[from..].iter().map(block).collect(),
        };
        self.event(prompt, KvCacheEventData::Stored(stored))
    }

    fn drop_own(&mut self, prompt: usize) -> RouterEvent {
        let own = &self.prompts[prompt].hashes[PREFIX_BLOCKS..];
        let block_hashes = own.iter().rev().map(|hash| ExternalSequenceBlockHash(*hash)).collect();
        self.event(prompt, KvCacheEventData::Removed(KvCacheRemoveData { block_hashes }))
    }

    fn event(&mut self, prompt: usize, data: KvCacheEventData) -> RouterEvent {
        let worker = self.prompts[prompt].worker;
        let number = &mut self.numbers[worker as usize];
        *number += 1;
        RouterEvent::new(worker, KvCacheEvent { event_id: *number, data, dp_rank: 0 })
    }
}
