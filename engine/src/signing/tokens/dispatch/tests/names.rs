//! What is told of a token while a reload opens it anew.

use countersign_hsm::Remedy;

use super::world::World;

#[test]
fn a_token_that_a_reload_opens_in_vain_takes_nothing_from_the_one_that_serves() {
    let mut world = World::of(1);
    let before = world.fact(0);
    let anew = world.open_anew(0);
    world.down(anew, Remedy::Reopen);
    world.up(anew);
    world.dispatch.sessions(anew, 1, 2, 3);
    assert_eq!(world.fact(0), before);
    world.dispatch.release(anew);
    assert_eq!(world.fact(0), before);
}

#[test]
fn a_token_that_was_opened_anew_is_up_while_one_of_both_is() {
    let mut world = World::of(1);
    let anew = world.open_anew(0);
    world.up(anew);
    world.dispatch.sessions(0, 1, 4, 0);
    world.dispatch.serve(anew);
    world.dispatch.sessions(anew, 0, 4, 0);
    let both = world.fact(0);
    assert_eq!((both.sessions_busy, both.sessions_open, both.came_up), (1, 8, 2));
    world.down(0, Remedy::Reopen);
    assert!(world.fact(0).is_up);
    world.dispatch.release(0);
    world.down(anew, Remedy::Reopen);
    assert!(!world.fact(0).is_up);
}
