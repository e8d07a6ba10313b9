//! Dynamo's two indexes of KV caches on the work `shared` of bench/micro/kv_index_bench.cc: 64 workers; prompts of
//! 128 blocks, the first 64 of them one of 200 shared prefixes; 6,400 prompts, each on one worker; one thread. CPU
//! time of this thread counts; events and queries are made before it is read.
//!
//! dynamo_index [ROUNDS] prints a line of JSON per figure, as kv_index_bench does.

mod work;

use std::sync::Arc;

use dynamo_kv_router::indexer::WorkerTask;
use dynamo_kv_router::protocols::{OverlapScores, RouterEvent};
use dynamo_kv_router::{ConcurrentRadixTreeCompressed, LocalBlockHash, RadixTree, SyncIndexer};
use work::{PROMPT_BLOCKS, Work, cpu_seconds};

/// What both indexes are asked to do.
trait Index {
    const NAME: &'static str;
    fn new() -> Self;
    /// Seconds of CPU.
    fn apply(&mut self, events: Vec<RouterEvent>) -> f64;
    fn find(&self, query: Vec<LocalBlockHash>) -> OverlapScores;
}

impl Index for RadixTree {
    const NAME: &'static str = "dynamo radix tree";
    fn new() -> Self {
        RadixTree::new()
    }
    fn apply(&mut self, events: Vec<RouterEvent>) -> f64 {
        let before = cpu_seconds();
        for event in events {
            self.apply_event(event).expect("an event is refused");
        }
        cpu_seconds() - before
    }
    fn find(&self, query: Vec<LocalBlockHash>) -> OverlapScores {
        self.find_matches(query, false)
    }
}

/// Takes events from a channel, on a thread of its own: here on this one, once all of them wait there. One thread
/// has one table of its own, which does not outlive its call: all that is stored and dropped goes in one call.
struct Compressed(Arc<ConcurrentRadixTreeCompressed>);

impl Index for Compressed {
    const NAME: &'static str = "dynamo compressed tree";
    fn new() -> Self {
        Compressed(Arc::new(ConcurrentRadixTreeCompressed::new()))
    }
    fn apply(&mut self, events: Vec<RouterEvent>) -> f64 {
        let (sender, receiver) = flume::unbounded();
        for event in events {
            sender.send(WorkerTask::Event(event)).expect("the channel is open");
        }
        drop(sender);
        let before = cpu_seconds();
        self.0.worker(receiver, None).expect("an event is refused");
        cpu_seconds() - before
    }
    fn find(&self, query: Vec<LocalBlockHash>) -> OverlapScores {
        self.0.find_matches(&query, false)
    }
}

fn print(index: &str, figure: &str, value: f64) {
    println!("  {{\"workload\": \"shared\", \"index\": \"{index}\", \"{figure}\": {value:.4}}},");
}

fn store_from_empty<I: Index>(work: &mut Work) -> I {
    let mut index = I::new();
    let blocks = (work.prompts() * PROMPT_BLOCKS) as f64;
    let seconds = index.apply(work.store_all());
    print(I::NAME, "stored_from_empty_M_blocks_per_s", blocks / seconds / 1e6);
    index
}

/// A cache that is full: prompts lose what is their own, newest block first, and compute it anew.
fn store_again(work: &mut Work) {
    let mut index: RadixTree = store_from_empty(work);
    let (mut dropping, mut storing, mut blocks) = (0.0, 0.0, 0);
    for batch in 0..work.batches() {
        let (drops, stores, count) = work.again(batch);
        dropping += index.apply(drops);
        storing += index.apply(stores);
        blocks += count;
    }
    print(RadixTree::NAME, "dropped_M_blocks_per_s", blocks as f64 / dropping / 1e6);
    print(RadixTree::NAME, "stored_again_M_blocks_per_s", blocks as f64 / storing / 1e6);
    find(&index, work);
}

fn find<I: Index>(index: &I, work: &Work) {
    let (mut all, mut found) = (Vec::new(), 0);
    for _ in 0..work.rounds {
        let queries = work.queries();
        let before = cpu_seconds();
        for query in queries {
            found += index.find(query).scores.len();
        }
        all.push(cpu_seconds() - before);
    }
    all.sort_by(f64::total_cmp);
    let queries = work.queries().len() as f64;
    print(I::NAME, "lookups_M_per_s_median", queries / all[all.len() / 2] / 1e6);
    print(I::NAME, "lookups_M_per_s_best", queries / all[0] / 1e6);
    print(I::NAME, "workers_found_per_lookup", found as f64 / queries / work.rounds as f64);
}

fn main() {
    let rounds = std::env::args().nth(1).map_or(50, |word| word.parse().expect("ROUNDS is a number"));
    store_again(&mut Work::new(rounds));
    let mut work = Work::new(rounds);
    let index: Compressed = store_from_empty(&mut work);
    find(&index, &work);
}
