//! Files in named folders, on a real disk, and every way out of them that we know.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use homing_agent::tools::settings::FileSettings;
use homing_agent::tools::{
    FileFolders, ListFilesTool, ReadFileTool, SearchFilesTool, Tool, WriteFileTool,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::run;

const SECRET: &str = "the private key";

/// homing's directory with a key, and beside it a folder that may be used.
struct Disk {
    base: TempDir,
}

impl Disk {
    fn new() -> Self {
        let base = TempDir::new().unwrap();
        for folder in ["homing/device", "homing/agent", "media/films"] {
            std::fs::create_dir_all(base.path().join(folder)).unwrap();
        }
        let disk = Self { base };
        disk.put("homing/device/key", SECRET);
        disk.put("outside", SECRET);
        disk.put("media/readme.txt", "one\ntwo Matrix\nthree\n");
        disk.put("media/films/Matrix.mkv", "film\n");
        disk
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.base.path().join(inside)
    }

    fn text(&self, inside: &str) -> String {
        self.path(inside).display().to_string()
    }

    fn put(&self, inside: &str, text: &str) {
        std::fs::write(self.path(inside), text).unwrap();
    }

    fn folders(&self) -> FileFolders {
        self.folders_of(Some(vec![self.path("media")]))
    }

    fn folders_of(&self, roots: Option<Vec<PathBuf>>) -> FileFolders {
        let workspace = self.path("homing/agent/workspace");
        FileFolders::new(
            &FileSettings { roots },
            workspace,
            vec![self.path("homing")],
        )
    }

    async fn list(&self, arguments: Value) -> Result<Value, String> {
        run(&ListFilesTool::new(self.folders()), arguments).await
    }

    async fn read(&self, arguments: Value) -> Result<Value, String> {
        run(&ReadFileTool::new(self.folders()), arguments).await
    }

    async fn search(&self, arguments: Value) -> Result<Value, String> {
        run(&SearchFilesTool::new(self.folders()), arguments).await
    }

    async fn write(&self, path: &str, text: &str) -> Result<Value, String> {
        let tool = WriteFileTool::new(self.folders());
        run(&tool, json!({"path": path, "text": text})).await
    }
}

fn names(listed: &Value) -> Vec<&str> {
    let entries = listed["entries"].as_array().unwrap();
    entries
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_folder_is_listed_and_a_file_read_by_absolute_or_relative_path() {
    let disk = Disk::new();
    let all = disk.list(json!({})).await.unwrap();
    assert_eq!(all["folders"], json!([{"path": disk.text("media")}]));
    for path in [".", "", &disk.text("media")] {
        let listed = disk.list(json!({"path": path})).await.unwrap();
        assert_eq!(names(&listed), ["films", "readme.txt"]);
        assert_eq!(listed["entries"][0]["kind"], "folder");
        assert_eq!(listed["entries"][1]["bytes"], 21);
        let modified = listed["entries"][1]["modified"].as_str().unwrap();
        assert!(modified.ends_with('Z'), "{modified}");
    }
    let itself = disk.list(json!({"path": "readme.txt"})).await.unwrap();
    assert_eq!(names(&itself), ["readme.txt"]);
    for path in ["readme.txt", &disk.text("media/readme.txt")] {
        let told = disk.read(json!({"path": path})).await.unwrap();
        assert_eq!(told["text"], "one\ntwo Matrix\nthree\n");
        assert_eq!(told["truncated"], false);
    }
}

#[tokio::test]
async fn nothing_outside_of_the_folder_is_reached_by_path_or_link() {
    let disk = Disk::new();
    for (link, target) in [
        ("absolute", disk.text("outside")),
        ("relative", "../outside".to_owned()),
        ("deep", "films/../../outside".to_owned()),
        ("proc", format!("/proc/self/root{}", disk.text("outside"))),
        ("up", "..".to_owned()),
        ("loop", "loop".to_owned()),
    ] {
        symlink(target, disk.path("media").join(link)).unwrap();
    }
    for path in [
        "../outside",
        "films/../../outside",
        "absolute",
        "relative",
        "deep",
        "proc",
        "up/outside",
        "loop",
        "/etc/passwd",
        "/proc/self/environ",
        &disk.text("outside"),
        &disk.text("media/../outside"),
        &disk.text("media-not"),
        &disk.text("homing/device/key"),
        "a\0b",
        &"a/".repeat(3_000),
    ] {
        for tool in ["read", "list", "write"] {
            let told = match tool {
                "read" => disk.read(json!({"path": path})).await,
                "list" => disk.list(json!({"path": path})).await,
                _ => disk.write(path, "overwritten").await,
            };
            let error = told.expect_err(&format!("{tool} {path}"));
            assert!(!error.contains(SECRET), "{error}");
        }
    }
    assert_eq!(
        std::fs::read_to_string(disk.path("outside")).unwrap(),
        SECRET
    );
    let found = disk.search(json!({"contents": "private"})).await.unwrap();
    assert_eq!(found["matches"], json!([]), "links are not followed");
}

#[tokio::test]
async fn a_path_that_goes_up_is_refused_so_that_rules_about_paths_hold() {
    let disk = Disk::new();
    for path in [
        "films/../readme.txt",
        &disk.text("media/films/../readme.txt"),
    ] {
        let error = disk.write(path, "overwritten").await.unwrap_err();
        assert!(error.contains("has no .."), "{error}");
        let error = disk.read(json!({"path": path})).await.unwrap_err();
        assert!(error.contains("has no .."), "{error}");
    }
}

#[tokio::test]
async fn a_file_has_one_spelling_so_that_rules_about_paths_hold() {
    let disk = Disk::new();
    for path in [
        "./readme.txt",
        "readme.txt/",
        "readme.txt/.",
        "films/./a.txt",
        "films//a.txt",
        &disk.text("media//readme.txt"),
    ] {
        let error = disk.write(path, "overwritten").await.unwrap_err();
        assert!(error.contains("plainly"), "{path}: {error}");
        let error = disk.read(json!({"path": path})).await.unwrap_err();
        assert!(error.contains("plainly"), "{path}: {error}");
    }
}

#[tokio::test]
async fn a_link_that_is_swapped_while_it_is_read_never_leads_out() {
    let disk = Disk::new();
    let (link, spare) = (disk.path("media/link"), disk.path("media/spare"));
    symlink("readme.txt", &link).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let stop = done.clone();
    let outside = disk.path("outside");
    let swapping = std::thread::spawn(move || {
        let mut swaps = 0_u32;
        while !stop.load(Ordering::Relaxed) {
            for target in [outside.as_path(), Path::new("readme.txt")] {
                symlink(target, &spare).unwrap();
                std::fs::rename(&spare, &link).unwrap();
                swaps += 1;
            }
        }
        swaps
    });
    let (mut read, mut refused) = (0, 0);
    for _ in 0..2_000 {
        match disk.read(json!({"path": "link"})).await {
            Ok(told) => {
                assert!(told["text"].as_str().unwrap().starts_with("one"), "{told}");
                read += 1;
            }
            Err(_) => refused += 1,
        }
    }
    done.store(true, Ordering::Relaxed);
    assert!(swapping.join().unwrap() > 10);
    assert!(read > 0 && refused > 0, "{read} read, {refused} refused");
}

#[tokio::test]
async fn homings_own_directory_stays_closed_whatever_the_settings_say() {
    let disk = Disk::new();
    symlink(disk.path("homing"), disk.path("alias")).unwrap();
    for root in ["homing", "homing/device", "homing/agent", "", "alias"] {
        let folders = disk.folders_of(Some(vec![disk.path(root)]));
        let key = disk.path("homing/device/key").display().to_string();
        for path in [key.as_str(), "device/key", "key", "."] {
            let error = run(&ReadFileTool::new(folders.clone()), json!({"path": path}))
                .await
                .unwrap_err();
            assert!(!error.contains(SECRET));
        }
        let listed = run(&ListFilesTool::new(folders), json!({})).await.unwrap();
        let why = listed["folders"][0]["error"].as_str().unwrap();
        assert!(why.contains("stays closed"), "{root}: {why}");
    }
}

#[tokio::test]
async fn without_settings_there_is_one_folder_that_is_made_for_this() {
    let disk = Disk::new();
    let folders = disk.folders_of(None);
    let write = WriteFileTool::new(folders.clone());
    let told = run(&write, json!({"path": "note.txt", "text": "hello"})).await;
    assert_eq!(told.unwrap()["replaced"], false);
    let workspace = disk.path("homing/agent/workspace");
    assert_eq!(
        std::fs::read_to_string(workspace.join("note.txt")).unwrap(),
        "hello"
    );
    let mode = workspace.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let read = ReadFileTool::new(folders);
    let error = run(&read, json!({"path": "../../device/key"}))
        .await
        .unwrap_err();
    assert!(error.contains("has no .."), "{error}");
    // Somebody puts a link in its place.
    std::fs::remove_dir_all(&workspace).unwrap();
    symlink(disk.path("homing/device"), &workspace).unwrap();
    let error = run(&read, json!({"path": "key"})).await.unwrap_err();
    assert!(!error.contains(SECRET), "{error}");
}

#[tokio::test]
async fn a_long_file_comes_in_pieces_that_make_up_the_whole() {
    let disk = Disk::new();
    let whole: String = (0..20_000).map(|n| format!("line {n} ä€🦀\n")).collect();
    disk.put("media/long.txt", &whole);
    let (mut text, mut offset, mut pieces) = (String::new(), 0, 0);
    loop {
        let arguments = json!({"path": "long.txt", "offset": offset, "limit": 1_000_000});
        let told = disk.read(arguments).await.unwrap();
        assert!(told.to_string().len() < 64 << 10);
        text.push_str(told["text"].as_str().unwrap());
        pieces += 1;
        if told["truncated"] == false {
            break;
        }
        offset = told["next_offset"].as_u64().unwrap();
    }
    assert!(pieces > 5);
    assert!(text == whole);
    let behind = disk
        .read(json!({"path": "long.txt", "offset": u64::MAX}))
        .await
        .unwrap();
    assert_eq!(behind["text"], "");
}

#[tokio::test]
async fn what_is_no_text_is_not_shown_and_what_is_no_file_is_not_opened() {
    let disk = Disk::new();
    std::fs::write(disk.path("media/image"), [0xff, 0xd8, 0, 1]).unwrap();
    let told = disk.read(json!({"path": "image"})).await.unwrap();
    assert_eq!(
        (&told["binary"], &told["bytes"], told.get("text")),
        (&json!(true), &json!(4), None)
    );
    let error = disk.read(json!({"path": "films"})).await.unwrap_err();
    assert!(error.contains("not a file"), "{error}");
    let made = std::process::Command::new("mkfifo")
        .arg(disk.path("media/pipe"))
        .status();
    assert!(made.unwrap().success());
    // It would wait for a writer for ever.
    let error = disk.read(json!({"path": "pipe"})).await.unwrap_err();
    assert!(error.contains("not a file"), "{error}");
    let error = disk.read(json!({"path": "gone.txt"})).await.unwrap_err();
    assert!(error.contains("there is no"), "{error}");
}

#[tokio::test]
async fn a_folder_with_many_files_is_listed_in_pages_without_a_gap() {
    let disk = Disk::new();
    for n in 0..1_500 {
        disk.put(&format!("media/films/{n:04}-{}", "x".repeat(60)), "");
    }
    let mut all = vec![];
    let mut offset = 0;
    loop {
        let arguments = json!({"path": "films", "offset": offset});
        let page = disk.list(arguments).await.unwrap();
        assert!(page.to_string().len() < 64 << 10);
        assert_eq!(page["total"], 1_501);
        all.extend(names(&page).into_iter().map(str::to_owned));
        if page["truncated"] == false {
            break;
        }
        offset = page["next_offset"].as_u64().unwrap();
    }
    assert_eq!(all.len(), 1_501);
    assert!(all.is_sorted());
}

#[tokio::test]
async fn files_are_found_by_name_by_contents_and_by_both() {
    let disk = Disk::new();
    let by_name = disk.search(json!({"name": "MATRIX"})).await.unwrap();
    assert_eq!(
        by_name["matches"],
        json!([{"path": disk.text("media/films/Matrix.mkv"), "kind": "file"}])
    );
    let by_contents = disk.search(json!({"contents": "matrix"})).await.unwrap();
    assert_eq!(
        by_contents["matches"],
        json!([{
            "path": disk.text("media/readme.txt"), "kind": "file",
            "lines": [{"line": 2, "text": "two Matrix"}],
        }])
    );
    let both = json!({"name": "mkv", "contents": "film"});
    assert_eq!(
        disk.search(both).await.unwrap()["matches"][0]["path"],
        disk.text("media/films/Matrix.mkv")
    );
    let error = disk.search(json!({"name": ""})).await.unwrap_err();
    assert!(error.contains("say a part"), "{error}");
}

#[tokio::test]
async fn a_search_that_finds_too_much_says_so() {
    let disk = Disk::new();
    for n in 0..300 {
        disk.put(&format!("media/films/same-{n}"), "");
    }
    let found = disk.search(json!({"name": "same"})).await.unwrap();
    assert_eq!(found["matches"].as_array().unwrap().len(), 200);
    assert_eq!(found["truncated"], true);
    assert!(found["hint"].as_str().unwrap().contains("many matches"));
    disk.put("media/one-line", &"needle ".repeat(500_000));
    let found = disk.search(json!({"contents": "needle"})).await.unwrap();
    assert!(found.to_string().len() < 10_000);
    assert_eq!(found["matches"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_written_file_is_whole_keeps_its_rights_and_leaves_nothing_beside_it() {
    let disk = Disk::new();
    let path = disk.path("media/readme.txt");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o4644)).unwrap();
    let told = disk.write("readme.txt", "new\n").await.unwrap();
    assert_eq!(
        (&told["bytes"], &told["replaced"]),
        (&json!(4), &json!(true))
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\n");
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o644);
    disk.write("films/new.txt", "x").await.unwrap();
    let mode = disk.path("media/films/new.txt").metadata().unwrap();
    assert_eq!(mode.permissions().mode() & 0o7777, 0o600);
    for (path, text) in [
        ("films", "a folder".to_owned()),
        ("nowhere/a.txt", "no folder".to_owned()),
        (".", "itself".to_owned()),
        ("big.txt", "x".repeat((1 << 20) + 1)),
    ] {
        disk.write(path, &text).await.expect_err(path);
    }
    let mut left = names(&disk.list(json!({"path": "."})).await.unwrap())
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    left.sort();
    assert_eq!(left, ["films", "readme.txt"]);
}

#[test]
fn all_of_them_need_the_scope_of_files() {
    let disk = Disk::new();
    let folders = disk.folders();
    let tools: [&dyn Tool; 4] = [
        &ListFilesTool::new(folders.clone()),
        &ReadFileTool::new(folders.clone()),
        &SearchFilesTool::new(folders.clone()),
        &WriteFileTool::new(folders),
    ];
    for tool in tools {
        assert_eq!(tool.scope(), Some("files"), "{}", tool.spec().name);
    }
}
