//! What is found out while writing takes long, or cannot be done: of others, and of a Release itself.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_goes_back_is_not_held_up_by_a_hundred_that_wait_for_a_slow_server() {
    let written = Written::default();
    let reconciler = reconciler(slow(written.clone()), 8);
    let mut keys = Vec::new();
    let bad = {
        let mut index = reconciler.index.lock();
        for number in 0..100 {
            let name = format!("shop-{number}");
            index::apply(&mut index, deployment(&name, &|_| {}));
            index::apply(&mut index, release(&name));
            keys.push(Key { namespace: "ns".into(), name });
        }
        let bad = bad(&mut index);
        index::apply(&mut index, release("bad"));
        index::delete(&mut index, &release("bad"));
        bad
    };
    for key in keys {
        reconciler.queue.wake(key);
    }
    reconciler.queue.wake(bad);
    let began = clock::instant();
    for _ in 0..reconciler.queue.places() {
        let reconciler = reconciler.clone();
        tokio::spawn(async move {
            loop {
                let key = reconciler.queue.next().await;
                reconciler.look(&key).await;
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let written = written.lock().unwrap().clone();
    let when = |path: &str| {
        let at = written.iter().find(|(written, _)| written.ends_with(path)).map(|(_, at)| *at - began);
        at.unwrap_or_else(|| panic!("{path} was not written: {written:?}"))
    };
    let all: Vec<_> = (0..100).map(|number| when(&format!("/deployments/shop-{number}"))).collect();
    assert!(all.iter().max() > Some(&Duration::from_secs(20)), "they do wait for each other: {all:?}");
    let back = when("/deployments/bad");
    assert!(back < Duration::from_millis(2100), "it went back after {back:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_clock_brings_is_looked_at_in_time_though_nothing_can_be_written_yet() {
    for turn_is_taken in [true, false] {
        let asked = Arc::<Mutex<Vec<Instant>>>::default();
        let reconciler = reconciler(busy(asked.clone()), 1);
        let [shop, other] = ["shop", "other"].map(|name| Key { namespace: "ns".into(), name: name.into() });
        {
            let mut index = reconciler.index.lock();
            index::apply(&mut index, deployment("shop", &|_| {}));
            // Of so many some wait for the others, a second.
            owing_marks(&mut index, "shop", 5);
        }
        if turn_is_taken {
            reconciler.queue.wake(other.clone());
            assert_eq!(reconciler.queue.next().await, other);
            assert!(reconciler.queue.may_write(&other));
        }
        reconciler.queue.wake(shop.clone());
        for _ in 0..3 {
            let woken = tokio::time::timeout(Duration::from_secs(2), reconciler.queue.next()).await;
            assert_eq!(woken.as_ref(), Ok(&shop), "the turn is taken: {turn_is_taken}");
            reconciler.look(&shop).await;
        }
        let writes = asked.lock().unwrap().len();
        assert_eq!(writes, usize::from(!turn_is_taken), "looking is not writing");
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_to_go_back_while_it_is_written_about_waits_for_the_write_under_way_and_no_more() {
    let written = Written::default();
    let reconciler = reconciler(slow(written.clone()), 8);
    let [it, other] = ["bad", "other"].map(|name| Key { namespace: "ns".into(), name: name.into() });
    {
        let mut index = reconciler.index.lock();
        index::apply(&mut index, deployment("bad", &|_| {}));
        owing_marks(&mut index, "bad", 4);
    }
    let look = async || {
        assert_eq!(reconciler.queue.next().await, it);
        reconciler.look(&it).await;
    };
    let meanwhile = async {
        // The first of six writes is under way.
        tokio::time::sleep(Duration::from_secs(1)).await;
        reconciler.queue.wake(other);
        let mut index = reconciler.index.lock();
        index::delete(&mut index, &release("bad"));
        assert_eq!(bad(&mut index), it);
    };
    reconciler.queue.wake(it.clone());
    tokio::join!(look(), meanwhile);
    look().await;
    let written = written.lock().unwrap();
    let paths: Vec<&str> = written.iter().filter_map(|(path, _)| Some(path.split_once("/ns/")?.1)).collect();
    assert_eq!(paths, ["deployments/bad", "deployments/bad"]);
}
