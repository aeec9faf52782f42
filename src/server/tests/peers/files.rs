//! Files: read, written, watched, searched.

use std::fs;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::client::Home;

#[tokio::test]
async fn files_are_written_read_copied_and_removed() {
    let home = Home::new();
    let mut client = home.client().await;
    let content = BASE64_STANDARD.encode(b"\xff\x00text");
    let (file, directory) = (home.path("a/b/file"), home.path("a/b"));
    client
        .call("fs/createDirectory", json!({ "path": directory }))
        .await
        .unwrap();
    client
        .call("fs/writeFile", json!({ "path": file, "dataBase64": content }))
        .await
        .unwrap();
    let read = client.call("fs/readFile", json!({ "path": file })).await.unwrap();
    assert_eq!(read["dataBase64"], content);
    std::os::unix::fs::symlink("/nowhere", home.path("a/b/lost")).unwrap();
    let listed = client
        .call("fs/readDirectory", json!({ "path": directory }))
        .await
        .unwrap();
    let entry =
        |name: &str, is_file: bool| json!({ "fileName": name, "isDirectory": false, "isFile": is_file });
    assert_eq!(
        listed["entries"],
        json!([entry("file", true), entry("lost", false)])
    );
    let lost = client
        .call("fs/getMetadata", json!({ "path": home.path("a/b/lost") }))
        .await
        .unwrap();
    assert_eq!(
        (&lost["isSymlink"], &lost["isFile"]),
        (&json!(true), &json!(false))
    );
    let into_itself =
        json!({ "sourcePath": home.path("a"), "destinationPath": home.path("a/b/c"), "recursive": true });
    assert!(client.call("fs/copy", into_itself).await.is_err());
    let copy = json!({ "sourcePath": home.path("a"), "destinationPath": home.path("z"), "recursive": true });
    client.call("fs/copy", copy).await.unwrap();
    assert_eq!(fs::read(home.path("z/b/file")).unwrap(), b"\xff\x00text");
    assert!(fs::symlink_metadata(home.path("z/b/lost")).unwrap().is_symlink());
    client
        .call("fs/remove", json!({ "path": home.path("a") }))
        .await
        .unwrap();
    assert!(!fs::exists(home.path("a")).unwrap());
    client
        .call("fs/remove", json!({ "path": home.path("a") }))
        .await
        .unwrap();
    let gone = client
        .call("fs/remove", json!({ "path": home.path("a"), "force": false }))
        .await
        .unwrap_err();
    assert_eq!(gone["code"], -32603);
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_and_never_a_hang() {
    let home = Home::new();
    let mut client = home.client().await;
    let status = std::process::Command::new("mkfifo")
        .arg(home.path("fifo"))
        .status()
        .unwrap();
    assert!(status.success());
    for (path, code) in [
        (home.path("fifo"), -32600),
        (home.path(""), -32600),
        ("relative".to_owned(), -32600),
        (home.path("missing"), -32603),
    ] {
        let refused = client
            .call("fs/readFile", json!({ "path": path }))
            .await
            .unwrap_err();
        assert_eq!(refused["code"], code, "{path}: {refused}");
    }
}

#[tokio::test]
async fn requests_about_one_file_take_effect_in_their_order() {
    let home = Home::new();
    let mut client = home.client().await;
    let file = home.path("file");
    let mut reads = Vec::new();
    for at in 0..20 {
        let data = BASE64_STANDARD.encode(at.to_string());
        client
            .ask("fs/writeFile", json!({ "path": file, "dataBase64": data }))
            .await;
        reads.push((data, client.ask("fs/readFile", json!({ "path": file })).await));
    }
    for (data, id) in reads {
        assert_eq!(client.answer(id).await.unwrap()["dataBase64"], data);
    }
}

#[tokio::test]
async fn changes_are_told_until_nobody_watches() {
    let home = Home::new();
    let mut client = home.client().await;
    fs::create_dir(home.path("d")).unwrap();
    let watch = json!({ "path": home.path("d"), "watchId": "w" });
    client.call("fs/watch", watch.clone()).await.unwrap();
    let again = client.call("fs/watch", watch).await.unwrap_err();
    assert_eq!(again["message"], "watchId already exists: w");
    client
        .call("fs/watch", json!({ "path": home.path("one"), "watchId": "file" }))
        .await
        .unwrap();
    fs::write(home.path("d/new"), "").unwrap();
    fs::write(home.path("two"), "").unwrap();
    fs::write(home.path("one"), "").unwrap();
    let mut seen = std::collections::BTreeMap::new();
    while seen.len() < 2 {
        let changed = client.notification("fs/changed").await;
        seen.insert(
            changed["params"]["watchId"].clone().to_string(),
            changed["params"]["changedPaths"].clone(),
        );
    }
    assert_eq!(seen["\"w\""], json!([home.path("d/new")]));
    assert_eq!(seen["\"file\""], json!([home.path("one")]));
    for id in ["w", "w", "never"] {
        client.call("fs/unwatch", json!({ "watchId": id })).await.unwrap();
    }
}

#[tokio::test]
async fn a_search_finds_files_and_a_later_one_ends_it() {
    let home = Home::new();
    let mut client = home.client().await;
    for file in ["alpha.rs", "beta.rs"] {
        fs::write(home.path(file), "").unwrap();
    }
    let search = |query: &str| json!({ "query": query, "roots": [home.path("")], "cancellationToken": "t" });
    let first = client.ask("fuzzyFileSearch", search("alp")).await;
    let second = client.ask("fuzzyFileSearch", search("bet")).await;
    let names = |answer: &Value| {
        answer["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["path"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&client.answer(second).await.unwrap()), ["beta.rs"]);
    // Whole or cut short, but answered.
    client.answer(first).await.unwrap();
}
