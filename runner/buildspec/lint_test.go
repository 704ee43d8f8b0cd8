package buildspec

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// all is what Parse and Lint say about a text.
func all(text string) (*Spec, []Problem) {
	spec, problems := ParseBatch([]byte(text))
	return spec, Sorted(append(problems, Lint([]byte(text), spec)...))
}

// coded is each problem as line:column code message.
func coded(problems []Problem) string {
	var lines []string
	for _, p := range problems {
		lines = append(lines, fmt.Sprintf("%d:%d %s %s", p.Line, p.Column, p.Code, p.Message))
	}
	return strings.Join(lines, "\n")
}

// TestLintPage holds docs/lints.md to the table of rules, and each of its examples to what is said about it.
func TestLintPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/lints.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(string(page), "\n## ")[1:]
	if len(sections) != len(Rules()) {
		t.Errorf("%d sections for %d rules", len(sections), len(Rules()))
	}
	example := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	for i, rule := range Rules() {
		if i >= len(sections) {
			break
		}
		t.Run(rule.Code, func(t *testing.T) {
			heading, text, _ := strings.Cut(sections[i], "\n\n")
			if want := rule.Code + ": " + rule.Title; heading != want {
				t.Fatalf("the section is %q, want %q", heading, want)
			}
			why, _, _ := strings.Cut(text, "\n\n")
			if got := strings.ReplaceAll(why, "\n", " "); got != rule.Why {
				t.Errorf("why:\n%s\nwant\n%s", got, rule.Why)
			}
			examples := example.FindAllStringSubmatch(text, -1)
			if len(examples) != 2 {
				t.Fatalf("%d examples", len(examples))
			}
			if _, problems := all(examples[0][1]); !slices.ContainsFunc(problems, func(p Problem) bool { return p.Code == rule.Code }) {
				t.Errorf("what is wrong is not told:\n%s", coded(problems))
			}
			if spec, problems := all(examples[1][1]); spec == nil || len(problems) > 0 {
				t.Errorf("what is right is not:\n%s", coded(problems))
			}
		})
	}
}

// TestLint gives for each file the exact list of what is said about it, beside its parser's problems.
func TestLint(t *testing.T) {
	command := func(lines ...string) string {
		text := "version: 0.2\nphases:\n  build:\n    commands:\n"
		for _, line := range lines {
			text += "      - " + strings.ReplaceAll(line, "\n", "\n        ") + "\n"
		}
		return text
	}
	bash := func(lines ...string) string {
		return strings.Replace(command(lines...), "phases:", "env: {shell: bash}\nphases:", 1)
	}
	post := func(build, post string) string {
		return "version: 0.2\nphases:\n  build: {commands: [make]" + build + "}\n  post_build:\n    commands:\n" + post
	}
	variables := func(text string) string { return "version: 0.2\nenv:\n  variables: {" + text + "}\n" + phases }
	for _, tt := range []struct{ name, text, want string }{
		// BS201
		{"last line counts", command("|\nmake\nls"), "6:9 BS201 phases.build.commands: if make fails, this command goes on, and only the status of its last line counts; begin it with set -e"},
		{"semicolon", command("make; make test"), "5:7 BS201 phases.build.commands: if make fails, this command goes on, and only the status of its last line counts; begin it with set -e"},
		{"folded", command(">-\nmake;\nmake test"), "5:7 BS201 phases.build.commands: if make fails, this command goes on, and only the status of its last line counts; begin it with set -e"},
		{"set -e", command("|\nset -eu\nmake\nmake test"), ""},
		{"set -e late", command("|\nmake\nset -e\nmake test"), "6:9 BS201 phases.build.commands: if make fails, this command goes on, and only the status of its last line counts; begin it with set -e"},
		{"set -o errexit", command("|\nset -o errexit\nmake\nmake test"), ""},
		{"chain", command("|\nmake &&\n  make test &&\n  make install"), ""},
		{"half a chain", command("|\nmake && make test\nmake install"), "6:9 BS201 phases.build.commands: if make fails, this command goes on, and only the status of its last line counts; begin it with set -e"},
		{"harmless lines", command("|\n# A comment.\necho a\nX=1\nexport Y=2\nnode --version\nsleep 1\nmake"), ""},
		{"provided for", command("|\nmake || exit 1\nmake test || true\n! grep x y\nls"), ""},
		{"asked for", command("|\nmake\nif [ $? -ne 0 ]; then exit 1; fi\nls"), ""},
		{"kept", command("|\nmake\nstatus=$?\necho over\nexit $status"), ""},
		{"substitution", command("|\nX=$(make version)\necho $X"), "6:9 BS201 phases.build.commands: if X=$() fails, this command goes on, and only the status of its last line counts; begin it with set -e"},
		{"in an if", command("|\nif true; then\n  make\n  make test\nfi"), "7:11 BS201 phases.build.commands: if make fails, this command goes on, and only the status of its last line counts; begin it with set -e"},
		{"last of an if", command("if true; then make; else make test; fi"), ""},
		{"if before the end", command("|\nif true; then make; fi\nls"), "6:9 BS201 phases.build.commands: if make fails, this command goes on, and only the status of its last line counts; begin it with set -e"},
		{"loop", command("for d in a b; do make -C $d; done"), "5:7 BS201 phases.build.commands: if make -C $d fails, this command goes on, and only the status of its last line counts; begin it with set -e"},
		{"loop that ends", command("for d in a b; do make -C $d || exit 1; done"), ""},
		{"subshell", command("( cd a && make ); ls"), "5:7 BS201 phases.build.commands: if cd a fails, this command goes on, and only the status of its last line counts; begin it with set -e"},
		{"case", command("case $X in a) make; ls ;; *) ls ;; esac"), "5:7 BS201 phases.build.commands: if make fails, this command goes on, and only the status of its last line counts; begin it with set -e"},
		{"function", command("|\nf() { make; ls; }\nf"), ""},
		{"background", command("|\n./server &\nmake test"), ""},
		{"here-document", command("|\ncat > f <<EOF\nmake; make test\nEOF"), ""},
		{"in quotes", command(`sh -c 'make; make test'`), ""},
		{"wait", command("until curl -sf localhost; do sleep 1; done"), ""},

		// BS202
		{"lone options", command("set -ex", "make"), "5:7 BS202 phases.build.commands: set -ex is gone when this command ends, since each command runs in a shell of its own; put it into the commands that need it"},
		{"options with more", command("set -e; make", "make"), ""},
		{"options at the end", command("make", "set +e"), ""},
		{"function alone", command("f() { make; }", "f"), "5:7 BS202 phases.build.commands: the function is gone when this command ends, since each command runs in a shell of its own; put it into the commands that need it"},
		{"trap", command("trap 'rm x' EXIT", "make"), "5:7 BS202 phases.build.commands: trap rm x EXIT is gone when this command ends, since each command runs in a shell of its own; put it into the commands that need it"},
		{"export", command("export A=b", "cd src", "make"), ""},
		{"export in 0.1", strings.Replace(command("export A=b", "cd src", "B=c", "make"), "0.2", "0.1", 1),
			"5:7 BS202 phases.build.commands: export A=b is gone when this command ends, since each command runs in a shell of its own; put it into the commands that need it\n" +
				"6:7 BS202 phases.build.commands: cd src is gone when this command ends, since each command runs in a shell of its own; put it into the commands that need it\n" +
				"7:7 BS202 phases.build.commands: B=c is gone when this command ends, since each command runs in a shell of its own; put it into the commands that need it"},

		// BS203
		{"push", post("", "      - docker push a:1\n      - docker push b:1\n"),
			"6:7 BS203 phases.post_build.commands: docker push a:1 runs after a build that failed, too; write on-failure: ABORT in build, or ask for CODEBUILD_BUILD_SUCCEEDING before it"},
		{"deploy in a block", post("", "      - |\n        set -e\n        cd infra\n        npx cdk deploy --all\n"),
			"9:9 BS203 phases.post_build.commands: npx cdk deploy --all runs after a build that failed, too; write on-failure: ABORT in build, or ask for CODEBUILD_BUILD_SUCCEEDING before it"},
		{"own script", post("", "      - ./ci/deploy.sh prod\n"),
			"6:7 BS203 phases.post_build.commands: ./ci/deploy.sh prod runs after a build that failed, too; write on-failure: ABORT in build, or ask for CODEBUILD_BUILD_SUCCEEDING before it"},
		{"abort", post(", on-failure: ABORT", "      - docker push a:1\n"), ""},
		{"guard", post("", "      - if [ \"$CODEBUILD_BUILD_SUCCEEDING\" = 1 ]; then docker push a:1; fi\n"), ""},
		{"guard before", post("", "      - test $CODEBUILD_BUILD_SUCCEEDING = 1\n      - docker push a:1\n"), ""},
		{"mention", post("", "      - echo $CODEBUILD_BUILD_SUCCEEDING\n      - docker push a:1\n"), "7:7 BS203 phases.post_build.commands: docker push a:1 runs after a build that failed, too; write on-failure: ABORT in build, or ask for CODEBUILD_BUILD_SUCCEEDING before it"},
		{"guard of another item", post("", "      - if [ \"$CODEBUILD_BUILD_SUCCEEDING\" = 1 ]; then echo ok; fi\n      - docker push a:1\n"), "7:7 BS203 phases.post_build.commands: docker push a:1 runs after a build that failed, too; write on-failure: ABORT in build, or ask for CODEBUILD_BUILD_SUCCEEDING before it"},
		{"guard of another chain", post("", "      - test $CODEBUILD_BUILD_SUCCEEDING = 1 || echo bad\n      - docker push a:1\n"), "7:7 BS203 phases.post_build.commands: docker push a:1 runs after a build that failed, too; write on-failure: ABORT in build, or ask for CODEBUILD_BUILD_SUCCEEDING before it"},
		{"guard for failures", post("", "      - '[ $CODEBUILD_BUILD_SUCCEEDING = 0 ] && echo bad'\n      - docker push a:1\n"), "7:7 BS203 phases.post_build.commands: docker push a:1 runs after a build that failed, too; write on-failure: ABORT in build, or ask for CODEBUILD_BUILD_SUCCEEDING before it"},
		{"exit 0 is no guard", post("", "      - if [ $CODEBUILD_BUILD_SUCCEEDING = 0 ]; then exit 0; fi # buildsmith:ignore BS216\n      - docker push a:1\n"), "7:7 BS203 phases.post_build.commands: docker push a:1 runs after a build that failed, too; write on-failure: ABORT in build, or ask for CODEBUILD_BUILD_SUCCEEDING before it"},
		{"guard that comes late", post("", "      - docker push a:1\n      - test $CODEBUILD_BUILD_SUCCEEDING = 1\n"), "6:7 BS203 phases.post_build.commands: docker push a:1 runs after a build that failed, too; write on-failure: ABORT in build, or ask for CODEBUILD_BUILD_SUCCEEDING before it"},
		{"guard of another list", post("", "      - test $CODEBUILD_BUILD_SUCCEEDING = 1\n    finally:\n      - docker push a:1\n"), "8:7 BS203 phases.post_build.finally: docker push a:1 runs after a build that failed, too; write on-failure: ABORT in build, or ask for CODEBUILD_BUILD_SUCCEEDING before it"},
		{"copy that nobody asks for", post("", "      - ok=$CODEBUILD_BUILD_SUCCEEDING\n      - docker push a:1\n"), "7:7 BS203 phases.post_build.commands: docker push a:1 runs after a build that failed, too; write on-failure: ABORT in build, or ask for CODEBUILD_BUILD_SUCCEEDING before it"},
		{"guard 1", post("", "      - if [ $CODEBUILD_BUILD_SUCCEEDING = 0 ]; then exit 1; fi\n      - docker push a:1\n"), ""},
		{"guard 2", post("", "      - '[ $CODEBUILD_BUILD_SUCCEEDING = 1 ] || exit'\n      - docker push a:1\n"), ""},
		{"guard 3", post("", "      - '[ $CODEBUILD_BUILD_SUCCEEDING = 0 ] && exit 1'\n      - docker push a:1\n"), ""},
		{"guard 4", post("", "      - '[ $CODEBUILD_BUILD_SUCCEEDING -eq 1 ] && echo ok'\n      - docker push a:1\n"), ""},
		{"guard 5", post("", "      - '! [ $CODEBUILD_BUILD_SUCCEEDING = 0 ]'\n      - docker push a:1\n"), ""},
		{"guard 6", post("", "      - 'if [ 1 -ne $CODEBUILD_BUILD_SUCCEEDING ]; then false; fi'\n      - docker push a:1\n"), ""},
		{"guard 7", post("", "      - case $CODEBUILD_BUILD_SUCCEEDING in 0) exit 1 ;; esac\n      - docker push a:1\n"), ""},
		{"guard 8", post("", "      - if echo $CODEBUILD_BUILD_SUCCEEDING | grep 0; then exit 1; fi\n      - docker push a:1\n"), ""},
		{"guard 9", post("", "      - ok=$CODEBUILD_BUILD_SUCCEEDING; test $ok = 1\n      - docker push a:1\n"), ""},
		{"guard 10", post("", "      - bash -c 'test $CODEBUILD_BUILD_SUCCEEDING = 1'\n      - docker push a:1\n"), ""},
		{"guard in Bash", strings.Replace(post("", "      - '[[ $CODEBUILD_BUILD_SUCCEEDING != 1 ]] && exit 1'\n      - docker push a:1\n"), "phases:", "env: {shell: bash}\nphases:", 1), ""},
		{"arithmetic", strings.Replace(post("", "      - (( CODEBUILD_BUILD_SUCCEEDING )) || exit 1\n      - docker push a:1\n"), "phases:", "env: {shell: bash}\nphases:", 1), ""},
		{"guard in the same item", post("", "      - '[ $CODEBUILD_BUILD_SUCCEEDING = 1 ] && docker push a:1'\n"), ""},
		{"case in the same item", post("", "      - case $CODEBUILD_BUILD_SUCCEEDING in 1) docker push a:1 ;; esac\n"), ""},
		{"unreadable guard", post("", "      - test $CODEBUILD_BUILD_SUCCEEDING = 1 > \n      - docker push a:1\n"), ""},
		{"no push", post("", "      - aws s3 ls\n      - docker images\n      - terraform apply --help\n"), ""},
		{"no build", "version: 0.2\nphases: {post_build: {commands: [docker push a]}}", ""},

		// BS204
		{"test of Bash", command("[[ -f a ]] && make"), "5:9 BS001 did not find expected alphabetic or numeric character at line 5; YAML takes the [ at the beginning of a text for itself, write: - '[[ -f a ]] && make'"},
		{"tests of Bash", command("if [[ -f a ]]; then make; fi"), "5:7 BS204 phases.build.commands: [[ needs Bash, and sh, which runs the commands, is often another shell; write env: {shell: bash}"},
		{"several", command("|\nset -euo pipefail\na=(1 2)\nsource x\n(( a > 1 )) && f <(ls) <<< b &> c"),
			"6:9 BS204 phases.build.commands: pipefail, an array, source, (( needs Bash, and sh, which runs the commands, is often another shell; write env: {shell: bash}"},
		{"expansions", command("echo ${a,,} ${a/x/y} ${a:0:2} ${!a} ${a[0]} $'x' {a,b}"),
			"5:7 BS204 phases.build.commands: ${a,,}, ${a/…}, ${a:…}, ${!a} needs Bash, and sh, which runs the commands, is often another shell; write env: {shell: bash}"},
		{"the rest", command("|\nset -e\npushd a\nshopt -s x\nfunction f { ls; }\n[ a == b ]\nls |& cat"),
			"7:9 BS204 phases.build.commands: pushd, shopt, function, == in [ ] needs Bash, and sh, which runs the commands, is often another shell; write env: {shell: bash}"},
		{"words of Bash", command("set -o pipefail; declare a; [ a == b ]"), "5:7 BS204 phases.build.commands: pipefail, declare, == in [ ] needs Bash, and sh, which runs the commands, is often another shell; write env: {shell: bash}"},
		{"in Bash", bash("if [[ -f a ]]; then source b; fi"), ""},
		{"plain sh", command("echo ${a:-b} ${a%.*} ${#a} $((1+2)) \"{a,b}\" a{b} '[[ x ]]' > x 2>&1"), ""},
		{"its own shell", command("bash -c '[[ -f a ]]'"), ""},

		// BS205
		{"images", "version: 0.2\nbatch:\n  build-matrix:\n    dynamic:\n      env:\n        image: ['node', 'localhost:5000/a', 'a/b:latest', 'a:1', 'a@sha256:0', '$IMAGE', 'aws/codebuild/standard:7.0']\n" + phases,
			"6:17 BS205 batch.build-matrix.dynamic.env.image: node may be another image tomorrow; name a version, such as node:1.2, or a digest\n" +
				"6:25 BS205 batch.build-matrix.dynamic.env.image: localhost:5000/a may be another image tomorrow; name a version, such as localhost:5000/a:1.2, or a digest\n" +
				"6:45 BS205 batch.build-matrix.dynamic.env.image: a/b:latest may be another image tomorrow; name a version, such as a/b:1.2, or a digest"},

		{"images of commands", command("docker run -it --rm -v a:b -eX=y --network host -dp 80:80 --pull=always node npm ci", "docker pull -q --platform linux/amd64 registry.example.org/x/y:latest", "|\nset -e\npodman run alpine true"),
			"5:7 BS205 phases.build.commands: node may be another image tomorrow; name a version, such as node:1.2, or a digest\n6:7 BS205 phases.build.commands: registry.example.org/x/y:latest may be another image tomorrow; name a version, such as registry.example.org/x/y:1.2, or a digest\n9:9 BS205 phases.build.commands: alpine may be another image tomorrow; name a version, such as alpine:1.2, or a digest"},
		{"images that are named or made", command("docker run node:22 npm ci", "docker build -t shop -f a . && docker run --rm shop", "docker buildx build --tag=b/c:latest .", "docker run b/c", "docker tag x y", "docker run y", "docker build -tz .", "docker run z:latest",
			"docker run $OPTIONS node", "docker run ${IMAGE}", "docker run a@sha256:0", "docker pull -a x", "docker run --help", "docker run", "docker run -v", "docker tag", "docker ps", "docker build -t"), ""},
		{"images of unknown names", command("docker load -i a.tar", "docker run shop", "docker pull alpine"), "7:7 BS205 phases.build.commands: alpine may be another image tomorrow; name a version, such as alpine:1.2, or a digest"},

		// BS206 and BS207
		{"literals", variables("A: $B, C: '${D}/x', E: $(date), F: '`date`', G: ~/x, H: cost $5, I: a$, J: '$'"),
			"3:18 BS206 env.variables.A: is taken as it stands, nothing in it is expanded; set it in a command: export A=\"…\"\n" +
				"3:25 BS206 env.variables.C: is taken as it stands, nothing in it is expanded; set it in a command: export C=\"…\"\n" +
				"3:38 BS206 env.variables.E: is taken as it stands, nothing in it is expanded; set it in a command: export E=\"…\"\n" +
				"3:50 BS206 env.variables.F: is taken as it stands, nothing in it is expanded; set it in a command: export F=\"…\"\n" +
				"3:63 BS206 env.variables.G: is taken as it stands, nothing in it is expanded; set it in a command: export G=\"…\""},
		{"secrets", variables("A: AKIA0123456789ABCDEF, DB_PASSWORD: x1y2, github_token: abcdef, B: 'postgres://u:p4ss@db/x', C: ghp_0123456789abcdefghijklmnopqrstuvwxyz"),
			"3:18 BS207 env.variables.A: looks like a secret, and everybody who can read the file can read it; keep it in env.parameter-store or env.secrets-manager\n" +
				"3:53 BS207 env.variables.DB_PASSWORD: looks like a secret, and everybody who can read the file can read it; keep it in env.parameter-store or env.secrets-manager\n" +
				"3:73 BS207 env.variables.github_token: looks like a secret, and everybody who can read the file can read it; keep it in env.parameter-store or env.secrets-manager\n" +
				"3:84 BS207 env.variables.B: looks like a secret, and everybody who can read the file can read it; keep it in env.parameter-store or env.secrets-manager\n" +
				"3:113 BS207 env.variables.C: looks like a secret, and everybody who can read the file can read it; keep it in env.parameter-store or env.secrets-manager"},
		{"no secrets", variables("PASSWORD: '', TOKEN: true, SECRET: /path/to/it, SECRET_NAME: shop, TOKEN_URL: 'https://a.example.org', API_KEY: 'arn:aws:x', PWD: ., PASSWORD_LENGTH: 12, URL: 'https://a:8080/@x', KEY: '<key>'"), ""},
		{"variables of a task", "version: 0.2\nbatch: {build-list: [{identifier: a, env: {variables: {A: $B}}}]}\n" + phases,
			"2:59 BS206 batch.build-list[0].env.variables.A: is taken as it stands, nothing in it is expanded; set it in a command: export A=\"…\""},
		{"variables of a matrix", "version: 0.2\nbatch: {build-matrix: {dynamic: {env: {variables: {A: [b, $C]}}}}}\n" + phases,
			"2:59 BS206 batch.build-matrix.dynamic.env.variables.A: is taken as it stands, nothing in it is expanded; set it in a command: export A=\"…\""},
		{"variables of 0.1", "version: 0.1\nenvironment_variables: {plaintext: {A: $B}}\n" + phases,
			"2:40 BS206 environment_variables.plaintext.A: is taken as it stands, nothing in it is expanded; set it in a command: export A=\"…\""},

		// BS209
		{"printed", strings.Replace(command(`printf '%s' "$S" | base64`, `echo "$S" >&2`, `printenv S`, "X=$(echo $S | cut -c 1-3)", `echo "$S" > f`, `echo '$S'`, `echo ${S}x`), "phases:", "env: {parameter-store: {S: /s}}\nphases:", 1),
			"7:7 BS209 phases.build.commands: echo prints the secret S, of which the log hides only the exact text; leave it out\n" +
				"8:7 BS209 phases.build.commands: printenv prints the secret S, of which the log hides only the exact text; leave it out\n" +
				"12:7 BS209 phases.build.commands: echo prints the secret S, of which the log hides only the exact text; leave it out"},

		// BS210 and BS211
		{"paths", "version: 0.2\nphases: {build: {commands: [make]}}\nartifacts: {files: [dist, 'a/build', ., target/, app, Dockerfile, 'dist/*', bin/app], secondary-artifacts: {d: {files: docs}}}\n" +
			"reports: {r: {files: [reports]}}\ncache: {key: k, paths: [node_modules, /root/.m2, ./vendor/bundle, '.gradle/**/*', a.txt, /root/.cache/x.db]}\n",
			"3:21 BS211 artifacts.files: \"dist\" names a directory, which matches no file; write 'dist/**/*'\n" +
				"3:27 BS211 artifacts.files: \"a/build\" names a directory, which matches no file; write 'a/build/**/*'\n" +
				"3:38 BS211 artifacts.files: \".\" names a directory, which matches no file; write '**/*'\n" +
				"3:41 BS211 artifacts.files: \"target/\" names a directory, which matches no file; write 'target/**/*'\n" +
				"3:120 BS211 artifacts.secondary-artifacts.d.files: \"docs\" names a directory, which matches no file; write 'docs/**/*'\n" +
				"4:23 BS211 reports.r.files: \"reports\" names a directory, which matches no file; write 'reports/**/*'\n" +
				"5:25 BS210 cache.paths: \"node_modules\" names a directory, for which CodeBuild's caches in S3 take nothing; write 'node_modules/**/*'\n" +
				"5:39 BS210 cache.paths: \"/root/.m2\" names a directory, for which CodeBuild's caches in S3 take nothing; write '/root/.m2/**/*'\n" +
				"5:50 BS210 cache.paths: \"./vendor/bundle\" names a directory, for which CodeBuild's caches in S3 take nothing; write './vendor/bundle/**/*'"},

		// BS212
		{"retries", "version: 0.2\nphases:\n  install: {on-failure: retry}\n  pre_build: {on-failure: RETRY-reset, commands: [a]}\n  build: {on-failure: RETRY-2, commands: [a]}\n  post_build: {on-failure: RETRY-2-x, commands: [a]}\n",
			"3:25 BS212 phases.install.on-failure: starts the build again up to 3 times; say how often it may: RETRY-1\n" +
				"4:27 BS212 phases.pre_build.on-failure: starts the build again up to 3 times; say how often it may: RETRY-1"},

		// BS220
		{"exports", "version: 0.2\nenv: {parameter-store: {S: s}, secrets-manager: {T: t}, exported-variables: [S, A, AWS_X, T]}\n" + phases,
			"2:78 BS220 env.exported-variables: S is a secret and is not exported; leave it out\n" +
				"2:84 BS220 env.exported-variables: AWS_X is not exported, since names that begin with AWS_ never are; export it under another name\n" +
				"2:91 BS220 env.exported-variables: T is a secret and is not exported; leave it out"},

		// What stands before a program.
		{"prefixes", command("timeout -s KILL 60 apt-get install x", "A=b nice -n 5 env C=d yum install x", "env -i"),
			"5:7 BS215 phases.build.commands: timeout -s KILL 60 apt-get install x asks whether to go on, and nobody answers; write apt-get -y\n" +
				"6:7 BS215 phases.build.commands: A=b nice -n 5 env C=d yum install x asks whether to go on, and nobody answers; write yum -y"},

		// BS213 and BS214
		{"downloads", command("curl -s https://a | env A=b bash -", "sh -c \"$(wget -qO- https://a)\"", "curl -s https://a | tar xz", "curl -s https://a | tee f"),
			"5:7 BS213 phases.build.commands: if curl fails, bash runs half a program, or none, and succeeds; download into a file first, then run that\n" +
				"6:7 BS213 phases.build.commands: if wget fails, sh runs half a program, or none, and succeeds; download into a file first, then run that"},
		{"downloads in Bash", bash("|\nset -eo pipefail\ncurl -s https://a | bash\nmake | tee log", "bash <(curl -s https://a)"),
			"10:7 BS213 phases.build.commands: if curl fails, bash runs half a program, or none, and succeeds; download into a file first, then run that"},
		{"tee", command("make test 2>&1 | tee log", "echo a | tee f", "make | tee log | wc -l"),
			"5:7 BS214 phases.build.commands: if make test fails, tee hides it: the status of a pipeline is that of its last command; write set -o pipefail before it, with env: {shell: bash}"},

		// BS215
		{"installations", command("apt-get install jq", "apt install -y jq", "apt-get -qq install jq", "yum install jq", "DEBIAN_FRONTEND=noninteractive apt-get install --yes jq", "apt-get install $OPTIONS jq", "apt-get update", "dnf -y install jq", "apt-get install --help"),
			"5:7 BS215 phases.build.commands: apt-get install jq asks whether to go on, and nobody answers; write apt-get -y\n" +
				"8:7 BS215 phases.build.commands: yum install jq asks whether to go on, and nobody answers; write yum -y"},

		// BS216
		{"exit 0", command("if [ -n \"$SKIP\" ]; then echo skip; exit 0; fi", "test -n \"$SKIP\" && exit 0", "if make; then make test; exit 0; fi", "make || exit 0", "if [ x ]; then exit 1; fi", "if true; then exit 0; fi"),
			"5:7 BS216 phases.build.commands: exit 0 ends this command alone, and the build goes on with the next; put what it should skip into the same command\n" +
				"6:7 BS216 phases.build.commands: exit 0 ends this command alone, and the build goes on with the next; put what it should skip into the same command\n" +
				"7:7 BS201 phases.build.commands: if make test fails, this command goes on, and only the status of its last line counts; begin it with set -e"},

		// BS217
		{"status", command("make", "echo $?", "if [ $? != 0 ]; then ls; fi", "make; exit $?", "( test $? = 0 )", "echo '$?'"),
			"6:7 BS217 phases.build.commands: $? is not the status of the command before, which ran in a shell of its own; put both into one command\n" +
				"7:7 BS217 phases.build.commands: $? is not the status of the command before, which ran in a shell of its own; put both into one command\n" +
				"9:7 BS217 phases.build.commands: $? is not the status of the command before, which ran in a shell of its own; put both into one command"},

		// BS218
		{"sudo", "version: 0.2\nrun-as: node\nphases:\n  install: {run-as: root, commands: [sudo make]}\n  build: {commands: [sudo make]}\n",
			"4:38 BS218 phases.install.commands: sudo make: commands run as root, and few images have sudo; leave it out"},

		// BS219
		{"unreadable", command("echo \"a", "|-\necho 'a", "if true; then", "fi", "x=$(ls", "for i in a; do ls", "case a in", "|-\n{ ls", "( ls", "echo `ls", "case a in b", "a=(b", "echo $'a", "else"),
			`5:7 BS219 phases.build.commands: no shell can read this: the quote " is not closed; a command begins and ends in one item` + "\n" +
				`7:9 BS219 phases.build.commands: no shell can read this: the quote ' is not closed; a command begins and ends in one item` + "\n" +
				`8:7 BS219 phases.build.commands: no shell can read this: if is not ended by fi; a command begins and ends in one item` + "\n" +
				`9:7 BS219 phases.build.commands: no shell can read this: fi stands without what it belongs to; a command begins and ends in one item` + "\n" +
				`10:7 BS219 phases.build.commands: no shell can read this: $( is not ended by ); a command begins and ends in one item` + "\n" +
				`11:7 BS219 phases.build.commands: no shell can read this: for is not ended by done; a command begins and ends in one item` + "\n" +
				`12:7 BS219 phases.build.commands: no shell can read this: case is not ended by esac; a command begins and ends in one item` + "\n" +
				`14:9 BS219 phases.build.commands: no shell can read this: { is not ended by }; a command begins and ends in one item` + "\n" +
				`15:7 BS219 phases.build.commands: no shell can read this: ( is not ended by ); a command begins and ends in one item` + "\n" +
				"16:7 BS219 phases.build.commands: no shell can read this: the backtick is not closed; a command begins and ends in one item\n" +
				`17:7 BS219 phases.build.commands: no shell can read this: case is not ended by esac; a command begins and ends in one item` + "\n" +
				`18:7 BS219 phases.build.commands: no shell can read this: ( is not ended by ); a command begins and ends in one item` + "\n" +
				`19:7 BS219 phases.build.commands: no shell can read this: the quote $' is not closed; a command begins and ends in one item` + "\n" +
				`20:7 BS219 phases.build.commands: no shell can read this: else stands without what it belongs to; a command begins and ends in one item`},
		{"not understood", command("ls ;;", "a=1 ) ls", "ls > ", "echo ${a", "ls &;"), ""},

		// A place in a command.
		{"place in a block with blank lines", command("|\n\necho a\n\nmake\n\nls"), "9:9 BS201 phases.build.commands: if make fails, this command goes on, and only the status of its last line counts; begin it with set -e"},
		{"place in JSON", `{"version": "0.2", "phases": {"build": {"commands": ["make\nls"]}}}`, "1:54 BS201 phases.build.commands: if make fails, this command goes on, and only the status of its last line counts; begin it with set -e"},
		{"place in JSON of lines", "{\n  \"version\": \"0.2\",\n  \"phases\": {\"build\": {\"commands\": [\n    \"ls\", \"é\", \"make; ls\",\n    \"sudo make\"\n  ]}}\n}",
			"4:16 BS201 phases.build.commands: if make fails, this command goes on, and only the status of its last line counts; begin it with set -e\n" +
				"5:5 BS218 phases.build.commands: sudo make: commands run as root, and few images have sudo; leave it out"},
		{"place of one text", "version: 0.2\nphases: {build: {commands: sudo make}}",
			"2:28 BS104 phases.build.commands: is one text instead of a list; put `- ` before it\n2:28 BS218 phases.build.commands: sudo make: commands run as root, and few images have sudo; leave it out"},
		{"place behind a null item", "version: 0.2\nphases: {build: {commands: [~, ' ', sudo make]}}", "2:37 BS218 phases.build.commands: sudo make: commands run as root, and few images have sudo; leave it out"},
		{"place in finally", "version: 0.2\nphases: {build: {commands: [a], finally: [make; ls]}}", "2:43 BS201 phases.build.finally: if make fails, this command goes on, and only the status of its last line counts; begin it with set -e"},
		{"place behind an alias", "version: 0.2\nx-a: &a |\n  make\n  ls\nphases:\n  build:\n    commands: [*a]\n",
			"2:1 BS101 x-a: unknown key, ignored; known here: version, run-as, env, proxy, batch, phases, reports, artifacts, cache\n" +
				"3:3 BS201 phases.build.commands: if make fails, this command goes on, and only the status of its last line counts; begin it with set -e"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := all(tt.text)
			if diff := cmp.Diff(strings.Split(tt.want, "\n"), strings.Split(coded(problems), "\n")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestLintOfHugeCommands has commands of 200 kB, which are to take no longer than their length.
func TestLintOfHugeCommands(t *testing.T) {
	for name, line := range map[string]string{
		"problems":      "sudo apt-get install x; make | tee x; echo $S; ",
		"captured":      "x=$(echo $S); ",
		"nested":        "if a; then b; fi; ",
		"quotes":        "echo \"$(a \"$(b)\")\" `c`; ",
		"functions":     "f() { a; }; ",
		"here-document": "cat <<A; ",
		"brackets":      "echo $((1)) $((a)) ${a:-${b}}; ",
		"open":          "echo $(( ",
		"opened":        "(",
		"pipes":         "a | ",
		"chain":         "a && ",
	} {
		text := "version: 0.2\nenv: {parameter-store: {S: s}}\nphases:\n  build:\n    commands:\n      - |\n        " + strings.Repeat(line, 200_000/len(line)) + "x\n"
		spec, problems := Parse([]byte(text))
		if spec == nil {
			t.Fatalf("%s: %v", name, problems)
		}
		if problems := Lint([]byte(text), spec); len(problems) > maxProblems+1 {
			t.Errorf("%s: %d problems", name, len(problems))
		}
	}
}
