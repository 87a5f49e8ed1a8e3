//! One seed, from its beginning to its end.

use std::sync::Arc;

use fastrand::Rng;
use tokio::runtime::Builder;
use vaultlet::app::{Embedded, Surroundings};
use vaultlet::clock::Clock;

use crate::callers::Callers;
use crate::settings::Settings;
use crate::situations::Met;
use crate::wire::carrier;
use crate::world::World;

/// What became of a seed.
#[derive(Debug)]
pub struct Outcome {
    /// Stands for everything that happened, in its order.
    pub hash: u64,
    /// How much that was.
    pub steps: u64,
    /// What must not have happened.
    pub violations: Vec<String>,
    /// What did happen.
    pub met: Met,
    /// All of it, where it was to be kept.
    pub trace: Vec<String>,
}

/// Plays a seed. `kept`: its trace is to be read.
///
/// # Errors
/// It cannot be played.
pub fn play(seed: u64, kept: bool) -> Result<Outcome, String> {
    // What the product draws, it draws from the thread's.
    fastrand::seed(seed);
    let mut rng = Rng::with_seed(seed);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let settings = Settings::draw(&mut rng);
    let config = settings.config()?;
    let world = runtime.block_on(async {
        let world = World::new(settings, rng.fork(), kept);
        world.note(format_args!("seed {seed}: {settings:?}"));
        let carrier = Some(carrier(&world));
        let clock = Clock::of_the_runtime_at(World::wall());
        let started = Embedded::start(&config, Surroundings { clock, carrier });
        let proxy = Arc::new(started.map_err(|error| error.to_string())?);
        proxy.ready().await;
        Callers::new(world.clone(), Arc::clone(&proxy), rng.fork()).play().await;
        Ok::<_, String>(world)
    })?;
    // With it goes whatever is still under way.
    drop(runtime);
    let state = world.into_state().ok_or("something outlived the runtime")?;
    Ok(Outcome {
        hash: state.trace.hash(),
        steps: state.trace.steps(),
        violations: state.violations,
        met: state.met,
        trace: state.trace.into_lines(),
    })
}
