//! An API server that does not keep all of a status: its CRDs are of before this build.

use super::*;

/// Tells the time that passes here.
fn virtual_clock() -> Clock {
    let start = clock::instant();
    Clock::new(move || {
        let passed = i64::try_from((clock::instant() - start).as_secs()).unwrap();
        Timestamp::from_second(1_800_000_000 + passed).unwrap()
    })
}

/// How often status is written in twenty seconds with a look in each, where this is left out of what is shown; the first that was written, and the one that is
/// once the spec has changed after that.
async fn written_without(left_out: Option<&str>) -> (usize, Value, Value) {
    let asked = Arc::<Mutex<Vec<(String, String)>>>::default();
    let mut reconciler = reconciler(refusing("/nothing", asked.clone()), 8);
    Arc::get_mut(&mut reconciler).expect("nobody else has it yet").clock = virtual_clock();
    let shop = Key { namespace: "ns".into(), name: "shop".into() };
    let at = |deployment: &mut Value| deployment["metadata"]["generation"] = json!(7);
    index::apply(&mut reconciler.index.lock(), deployment("shop", &at));
    let written = || {
        let asked = asked.lock().unwrap();
        let of_status = asked.iter().filter(|(path, _)| path.ends_with("/releases/shop/status"));
        let read =
            |(_, body): &(String, String)| serde_json::from_str::<Value>(body).unwrap()[1]["value"].take();
        of_status.map(read).collect::<Vec<Value>>()
    };
    let look = async |generation: i64| {
        let mut release = release_object("shop");
        release["metadata"]["generation"] = json!(generation);
        if let Some(mut status) = written().pop() {
            left_out.map(|field| status.as_object_mut().expect("fields").remove(field));
            release["status"] = status;
        }
        let release: slim::Release = serde_json::from_value(release).unwrap();
        index::apply(&mut reconciler.index.lock(), release);
        reconciler.queue.wake(shop.clone());
        let key = reconciler.queue.next().await;
        reconciler.look(&key).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    for _ in 0..20 {
        look(1).await;
    }
    let before = written();
    look(2).await;
    assert!(written().len() > before.len(), "{left_out:?}: it is said of which spec it is");
    (before.len(), before[0].clone(), written().pop().expect("it was written"))
}

#[tokio::test(start_paused = true)]
async fn what_the_api_server_does_not_keep_is_not_written_in_each_look_and_is_known_all_the_same() {
    let (usual, _, _) = written_without(None).await;
    let (times, first, last) = written_without(Some("conditions")).await;
    assert_eq!(times, usual);
    let since = |status: &Value| {
        let conditions = status["conditions"].as_array().expect("conditions").iter();
        let since = conditions.map(|it| (it["type"].to_string(), it["lastTransitionTime"].to_string()));
        since.collect::<std::collections::BTreeMap<_, _>>()
    };
    let (first, last) = (since(&first), since(&last));
    let kept = last.iter().filter(|(kind, since)| first.get(*kind) == Some(*since));
    assert!(kept.count() > 0, "of none it is known any more since when it is so: {first:?} {last:?}");
}
