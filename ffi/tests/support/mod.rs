//! What the tests share: the library that cargo has built, compilers, and programs that serve.
#![allow(dead_code)] // each test uses a part

pub(crate) mod header;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

/// The folder of this crate.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where cargo has put the library of this build, under the name too that programs which are linked with it look for.
pub(crate) fn library() -> PathBuf {
    let exe = std::env::current_exe().expect("the test is a file");
    let folder = exe.parent().expect("target/.../deps").to_owned();
    match std::os::unix::fs::symlink("libweir_ffi.so", folder.join("libweir.so.0")) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => panic!("a link in {}: {error}", folder.display()),
        _ => folder,
    }
}

/// A folder for a test's own files, empty.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

/// Runs a command that must work.
pub(crate) fn must(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not run: {error}"));
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{said}{complained}", output.status);
    output
}

/// Whether a program is there.
pub(crate) fn has(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A compiler with all warnings and our header, but without our library.
pub(crate) fn compiler(program: &str, standard: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["-Wall", "-Wextra", "-Werror", standard, "-I"]).arg(root().join("../include"));
    command
}

/// What watches programs in C for what they may not do: `valgrind`, or `asan` for the compiler's own. See `ffi/sanitize.sh`.
fn watcher() -> String {
    std::env::var("WEIR_C_RUNNER").unwrap_or_default()
}

/// Compiles a program and links it with cargo's library.
pub(crate) fn compile(program: &str, standard: &str, source: &Path, out: &Path) {
    compile_with(program, standard, source, out, &[]);
}

/// As [`compile`], with more arguments.
pub(crate) fn compile_with(program: &str, standard: &str, source: &Path, out: &Path, more: &[&str]) {
    let library = library();
    let mut command = compiler(program, standard);
    if watcher() == "asan" {
        command.args(["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g"]);
    }
    command.args(more).arg(source).arg("-o").arg(out).arg("-L").arg(&library);
    must(command.arg("-lweir_ffi").arg(format!("-Wl,-rpath,{}", library.display())));
}

/// A program to run. Cargo's own path could lead it to the library of an older build.
pub(crate) fn run(program: &Path) -> Command {
    let mut command = match &*watcher() {
        "valgrind" => {
            let mut command = Command::new("valgrind");
            command.args(["--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect,possible"]);
            command.args(["--fair-sched=yes", "--num-callers=60"]);
            command.arg(format!("--suppressions={}", root().join("tests/c/valgrind.supp").display()));
            match std::env::var("WEIR_C_LOGS") {
                Ok(folder) => command.arg("--show-leak-kinds=all").arg(format!("--log-file={folder}/%p")),
                Err(_) => command.arg("--show-leak-kinds=definite,indirect,possible"),
            };
            command.arg(program);
            command
        }
        _ => Command::new(program),
    };
    command.env_remove("LD_LIBRARY_PATH");
    command
}

/// A program that serves on the port at the end of its first line.
pub(crate) struct Serving {
    pub(crate) child: Child,
    pub(crate) port: u16,
    pub(crate) output: BufReader<ChildStdout>,
}

impl Serving {
    pub(crate) fn start(command: &mut Command) -> Serving {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it was compiled");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("it says where it listens");
        let port = line.trim().rsplit([' ', ':']).next().and_then(|port| port.parse().ok());
        Serving { child, port: port.unwrap_or_else(|| panic!("no port in {line:?}")), output }
    }

    /// Asks for a page, which must end with these words.
    pub(crate) fn get(&self, words: &str) {
        let mut client = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(words), "{answer:?}");
    }

    /// Asks it to end, and answers what else it said.
    pub(crate) fn terminate(mut self) -> String {
        must(Command::new("kill").args(["-TERM", &self.child.id().to_string()]));
        self.ended()
    }

    /// Ends its input, and answers what else it said.
    pub(crate) fn end_input(mut self) -> String {
        drop(self.child.stdin.take());
        self.ended()
    }

    fn ended(&mut self) -> String {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("UTF-8");
        assert!(self.child.wait().expect("it ends").success(), "it does not end well; it said {rest:?}");
        rest
    }
}

/// A config that answers by itself.
pub(crate) const CONFIG: &str = r#"
static_resources:
  listeners:
  - name: main
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          route_config: { virtual_hosts: [{ name: v, domains: ["*"], routes: [{ match: { prefix: / }, direct_response: { status: 200, body: { inline_string: "hello" } } }] }] }
          http_filters: [{ name: r, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }]
"#;
