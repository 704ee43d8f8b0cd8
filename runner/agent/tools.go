package agent

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"buildsmith/runner/cache"
	"buildsmith/runner/glob"
)

// ToolsDir holds the programs that CodeBuild gives to builds. It stands at the end of their PATH.
const ToolsDir = "/codebuild/user/bin"

// tools are those programs: links to this one, which looks at the name it was called by.
// https://docs.aws.amazon.com/codebuild/latest/userguide/caching-s3.html names codebuild-hash-files,
// .../session-manager.html the breakpoint, .../parallel-test.html the search.
var tools = map[string]func(args []string, out, messages io.Writer) int{
	"codebuild-hash-files":     hashFiles,
	"codebuild-glob-search":    globSearch,
	"codebuild-breakpoint":     breakpoint,
	"codebuild-resume":         func([]string, io.Writer, io.Writer) int { return 0 },
	"codebuild-git-credential": gitCredential,
}

// Tool runs the program that the command line names, if it is one that builds are given, and reports whether it was.
func Tool(args []string) (status int, ok bool) {
	if len(args) == 0 {
		return 0, false
	}
	tool, ok := tools[filepath.Base(args[0])]
	if !ok {
		return 0, false
	}
	return tool(args[1:], os.Stdout, os.Stderr), true
}

// installTools makes the links, and gives the variables with which they are found.
func installTools(env []string) ([]string, error) {
	if err := os.MkdirAll(ToolsDir, 0o755); err != nil {
		return env, err
	}
	for name := range tools {
		link := filepath.Join(ToolsDir, name)
		if err := os.Symlink(ProgramPath, link); err != nil && !os.IsExist(err) {
			return env, err
		}
	}
	for i, v := range env {
		if path, ok := strings.CutPrefix(v, "PATH="); ok && path != "" {
			env[i] = v + ":" + ToolsDir
			return env, nil
		}
	}
	return append(env, "PATH="+standardPath+":"+ToolsDir), nil
}

// hashFiles prints one hash over the contents of files, for keys of caches.
func hashFiles(args []string, out, messages io.Writer) int {
	if len(args) == 0 {
		fmt.Fprintln(messages, "codebuild-hash-files: name the files, for example: codebuild-hash-files package-lock.json '**/go.sum'")
		return 2
	}
	sum, files, err := cache.HashFiles(".", args)
	if err != nil {
		fmt.Fprintln(messages, "codebuild-hash-files:", err)
		return 1
	}
	if files == 0 {
		fmt.Fprintln(messages, "codebuild-hash-files: no file matches", strings.Join(args, " "))
	}
	fmt.Fprintln(out, sum)
	return 0
}

// globSearch prints the files that patterns match.
func globSearch(args []string, out, messages io.Writer) int {
	if len(args) == 0 {
		fmt.Fprintln(messages, "codebuild-glob-search: name a pattern, for example: codebuild-glob-search 'test/**/*.py'")
		return 2
	}
	seen := map[string]bool{}
	for _, text := range args {
		pattern, err := glob.Compile(text)
		if err != nil {
			fmt.Fprintln(messages, "codebuild-glob-search:", err)
			return 1
		}
		for _, f := range pattern.Files(".") {
			if !seen[f.Path] {
				seen[f.Path] = true
				fmt.Fprintln(out, f.Path)
			}
		}
	}
	return 0
}

// breakpoint does nothing: as in CodeBuild, a build that was started without session debugging passes it by.
func breakpoint(_ []string, _, messages io.Writer) int {
	fmt.Fprintln(messages, "codebuild-breakpoint: session debugging is off; going on")
	return 0
}
