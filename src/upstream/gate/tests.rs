use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;
use tokio::task::{JoinHandle, JoinSet, yield_now};
use tokio::time::{Instant, sleep};

use super::*;

const MINUTE: Duration = Duration::from_mins(1);

fn tenant(number: u8) -> Tenant {
    Tenant::class([number; 16])
}

async fn enter(gate: &Gate, of: u8) -> Result<Place, Error> {
    gate.enter(tenant(of), &AtomicBool::new(false)).await
}

/// Waits in the line by now, or has been refused.
async fn waiter(gate: &Arc<Gate>, of: u8) -> JoinHandle<Result<Place, Error>> {
    let gate = Arc::clone(gate);
    let waiter = tokio::spawn(async move { enter(&gate, of).await });
    yield_now().await;
    waiter
}

#[tokio::test(start_paused = true)]
async fn a_full_line_refuses_at_once_and_a_long_wait_is_cut() {
    let gate = Gate::new(1, 1, MINUTE);
    let inside = enter(&gate, 1).await.unwrap();
    let began = Instant::now();

    let (waited, refused) = tokio::join!(enter(&gate, 1), async {
        yield_now().await;
        (enter(&gate, 2).await, began.elapsed())
    });

    assert!(matches!(waited, Err(Error::Overloaded)));
    assert!(matches!(refused, (Err(Error::Overloaded), Duration::ZERO)));
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    drop(inside);
    assert!(enter(&gate, 1).await.is_ok(), "the line is empty again");
}

#[tokio::test(start_paused = true)]
async fn a_neighbour_is_next_whoever_came_before() {
    let gate = Arc::new(Gate::new(1, 100, MINUTE));
    let inside = enter(&gate, 1).await.unwrap();
    let mut flood = Vec::new();
    for _ in 0..50 {
        flood.push(waiter(&gate, 1).await);
    }
    let neighbour = waiter(&gate, 2).await;

    drop(inside);
    let place = flood.remove(0).await.unwrap().unwrap();
    drop(place);
    let place = neighbour.await.unwrap().unwrap();

    assert!(flood.iter().all(|waiter| !waiter.is_finished()));
    drop(place);
}

#[tokio::test(start_paused = true)]
async fn who_has_most_of_a_full_line_gives_way() {
    let gate = Arc::new(Gate::new(1, 4, MINUTE));
    let inside = enter(&gate, 1).await.unwrap();
    let mut flood = Vec::new();
    for _ in 0..4 {
        flood.push(waiter(&gate, 1).await);
    }
    assert!(waiter(&gate, 1).await.await.unwrap().is_err(), "not to itself");

    let neighbour = waiter(&gate, 2).await;
    yield_now().await;
    assert!(flood.pop().unwrap().await.unwrap().is_err(), "the newest is told at once");
    drop(inside);
    drop(flood.remove(0).await.unwrap().unwrap());
    drop(neighbour.await.unwrap().unwrap());
    for waiter in flood {
        drop(waiter.await.unwrap().unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_takes_no_place_along() {
    let gate = Arc::new(Gate::new(1, 2, MINUTE));
    let inside = enter(&gate, 1).await.unwrap();
    let (gone, patient) = (waiter(&gate, 1).await, waiter(&gate, 1).await);
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    let replacement = waiter(&gate, 1).await;

    drop(inside);
    let place = patient.await.unwrap().unwrap();
    drop(place);
    assert!(replacement.await.unwrap().is_ok(), "who has left the line has left it");
}

#[tokio::test]
async fn a_place_given_to_one_who_hangs_up_is_the_next_ones() {
    let gate = Arc::new(Gate::new(1, 2, MINUTE));
    let inside = enter(&gate, 1).await.unwrap();
    let (called, patient) = (waiter(&gate, 1).await, waiter(&gate, 1).await);

    // It has been sent the place, and is dropped before it looks.
    drop(inside);
    called.abort();
    assert!(called.await.unwrap_err().is_cancelled());

    assert!(timeout(MINUTE, patient).await.unwrap().unwrap().is_ok());
    assert_eq!(lock(&gate.hall).free, 1);
}

#[tokio::test]
async fn a_place_meant_for_one_who_is_just_leaving_is_the_next_ones() {
    let gate = Arc::new(Gate::new(1, 2, MINUTE));
    let inside = enter(&gate, 1).await.unwrap();
    let (call, called) = oneshot::channel();
    lock(&gate.hall).line.join(tenant(1), call).unwrap();
    let patient = waiter(&gate, 1).await;

    drop(called);
    drop(inside);

    assert!(timeout(MINUTE, patient).await.unwrap().unwrap().is_ok());
    assert_eq!(lock(&gate.hall).free, 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_can_be_told_from_who_has_a_place() {
    let gate = Arc::new(Gate::new(1, 1, MINUTE));
    let (first, second) = (AtomicBool::new(false), Arc::new(AtomicBool::new(false)));
    let inside = gate.enter(tenant(1), &first).await.unwrap();
    let task = tokio::spawn({
        let (gate, second) = (Arc::clone(&gate), Arc::clone(&second));
        async move { gate.enter(tenant(1), &second).await }
    });
    yield_now().await;

    assert!(!first.load(Ordering::Acquire));
    assert!(second.load(Ordering::Acquire));
    drop(inside);
    assert!(task.await.unwrap().is_ok());
    assert!(!second.load(Ordering::Acquire));
}

#[test]
fn retries_are_a_tenth_of_the_requests() {
    let budget = Budget::default();
    while budget.spend() {}

    (0..9).for_each(|_| budget.earn());
    assert!(!budget.spend());
    budget.earn();
    assert!(budget.spend());
    assert!(!budget.spend());
}

/// Comes after some time, stays for some time, and may hang up before it is let in.
#[derive(Clone, Debug)]
struct Caller {
    of: u8,
    comes: u64,
    stays: u64,
    hangs_up: Option<u64>,
}

fn caller() -> impl Strategy<Value = Caller> {
    (0..4_u8, 0..50_u64, 0..20_u64, proptest::option::weighted(0.3, 0..30_u64))
        .prop_map(|(of, comes, stays, hangs_up)| Caller { of, comes, stays, hangs_up })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_place_is_lost_or_made_up(
        places in 1..4_usize,
        callers in proptest::collection::vec(caller(), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let (most, refused, free) = runtime.block_on(storm(places, &callers));
        prop_assert!(most <= places, "{most} were inside");
        prop_assert_eq!(refused, 0, "everyone who waited was let in");
        prop_assert_eq!(free, places);
    }
}

/// The most that were inside at once, how many were refused, and how many places are free after.
async fn storm(places: usize, callers: &[Caller]) -> (usize, usize, usize) {
    let gate = Arc::new(Gate::new(places, 1000, MINUTE));
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for Caller { of, comes, stays, hangs_up } in callers.iter().cloned() {
        let (gate, inside, most) = (Arc::clone(&gate), Arc::clone(&inside), Arc::clone(&most));
        tasks.spawn(async move {
            sleep(Duration::from_millis(comes)).await;
            let patience = hangs_up.map_or(MINUTE, Duration::from_millis);
            let Ok(place) = timeout(patience, enter(&gate, of)).await else { return true };
            let let_in = place.is_ok();
            let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            sleep(Duration::from_millis(stays)).await;
            inside.fetch_sub(1, Ordering::SeqCst);
            let_in
        });
    }
    let refused = tasks.join_all().await.into_iter().filter(|let_in| !let_in).count();
    let free = lock(&gate.hall).free;
    (most.load(Ordering::SeqCst), refused, free)
}
