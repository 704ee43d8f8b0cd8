package agent

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// A shell runs a job's commands, each in a process of its own, and carries directory and exported variables from one to
// the next.
type shell struct {
	program string
	argv0   string
	state   string   // directory of scripts and saved state, on a tmpfs
	env     []string // NAME=value of the beginning
	odd     []string // those whose names no shell can save
	home    string   // where commands begin
	reaper  *reaper
	log     *writer
	pipe    *outputPipe
	null    *os.File
}

const (
	scriptName = "script.sh"
	envName    = "env.sh"
	dirName    = "dir.txt"
	valueName  = "value.txt"
)

// newShell writes the state that the first command restores. The shell is found later, by find.
func newShell(home, state string, env []string, r *reaper, log *writer) (*shell, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	pipe, err := newOutputPipe(log)
	if err != nil {
		return nil, err
	}
	s := &shell{state: state, env: env, home: home, reaper: r, log: log, pipe: pipe, null: null}
	if err := os.MkdirAll(state, 0o711); err != nil {
		return nil, err
	}
	var saved strings.Builder
	for _, v := range env {
		if name, value, _ := strings.Cut(v, "="); validName(name) {
			saved.WriteString(export(name, value))
		} else {
			s.odd = append(s.odd, v)
		}
	}
	for name, text := range map[string]string{scriptName: "", valueName: "", dirName: home + "\n", envName: saved.String()} {
		if err := os.WriteFile(filepath.Join(state, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// find looks for the shell that the job names. Its error is the image's fault.
func (s *shell) find(name string) error {
	program, err := findShell(name, s.env)
	s.program, s.argv0 = program, filepath.Base(program)
	return err
}

// standardPath is where programs are looked for in an image that names no PATH.
const standardPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func findShell(name string, env []string) (string, error) {
	if name == "" || name == "sh" {
		name = "/bin/sh"
	}
	if strings.Contains(name, "/") {
		if executable(name) {
			return name, nil
		}
		return "", fmt.Errorf("the image has no shell: %s is missing; choose an image that has it", name)
	}
	path := standardPath
	for _, v := range env {
		if p, ok := strings.CutPrefix(v, "PATH="); ok {
			path = p + ":" + path
		}
	}
	for dir := range strings.SplitSeq(path, ":") {
		if full := filepath.Join(dir, name); filepath.IsAbs(full) && executable(full) {
			return full, nil
		}
	}
	return "", fmt.Errorf("env.shell is %s, but the image has none; install it in the image or leave env.shell out", name)
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func validName(name string) bool {
	return name != "" && (name[0] < '0' || name[0] > '9') && !strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// export is the line that sets and exports a variable in any shell.
func export(name, value string) string {
	return "export " + name + "=" + quoted(value) + "\n"
}

func quoted(value string) string { return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'" }

// set makes a variable hold for the commands that come.
func (s *shell) set(name, value string) error {
	f, err := os.OpenFile(filepath.Join(s.state, envName), os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(export(name, value))
	return err
}

// as gives the state and the output to the user of a phase. An empty name is root, which may be known by any id that
// the sandbox began with.
func (s *shell) as(name string) (*syscall.Credential, error) {
	cred := &syscall.Credential{Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid()), NoSetGroups: true}
	if name != "" && name != "root" && name != "0" {
		var err error
		if cred, err = credential(name); err != nil {
			return nil, err
		}
	}
	for _, file := range []string{scriptName, envName, dirName, valueName} {
		if err := os.Lchown(filepath.Join(s.state, file), int(cred.Uid), int(cred.Gid)); err != nil {
			return nil, err
		}
	}
	return cred, s.pipe.write.Chown(int(cred.Uid), int(cred.Gid))
}

// credential looks a user up in the image, by name or number.
func credential(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return nil, fmt.Errorf("user %q does not exist in the image", name)
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %q has the odd id %q", name, u.Uid)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %q has the odd group %q", name, u.Gid)
	}
	cred := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of user %q: %w", name, err)
	}
	for _, g := range groups {
		if id, err := strconv.ParseUint(g, 10, 32); err == nil {
			cred.Groups = append(cred.Groups, uint32(id))
		}
	}
	return cred, nil
}

// script is what the shell reads for one command. The text begins on line 4, as in CodeBuild. The blank line after it
// ends a text whose last character is a backslash.
func (s *shell) script(text string) string {
	at := func(name string) string { return filepath.Join(s.state, name) }
	return "# The command begins on line 4.\n" +
		"set -a\n" +
		". " + at(envName) + "\n" +
		text + "\n\n" +
		"CODEBUILD_LAST_EXIT=$?\n" +
		"export -p >| " + at(envName) + "\n" +
		"pwd >| " + at(dirName) + "\n" +
		"exit $CODEBUILD_LAST_EXIT\n"
}

// run runs one command and returns the status a shell would give it. An error is the agent's own or the image's fault.
func (s *shell) run(text string, cred *syscall.Credential) (int, error) {
	script := filepath.Join(s.state, scriptName)
	if err := writeInPlace(script, s.script(text)); err != nil {
		return 0, err
	}
	return s.process([]string{s.argv0, script}, s.odd, s.dir(), cred)
}

// runFresh runs one command that neither restores nor saves anything, as version 0.1 has it.
func (s *shell) runFresh(text string, cred *syscall.Credential) (int, error) {
	return s.process([]string{s.argv0, "-c", text}, s.env, s.home, cred)
}

// expand gives what text becomes between double quotes in the build's shell.
func (s *shell) expand(text string, cred *syscall.Credential) (string, error) {
	if !strings.ContainsAny(text, "$`\\") {
		return text, nil
	}
	end := "END_OF_VALUE"
	for slices.Contains(strings.Split(text, "\n"), end) {
		end += "_"
	}
	value := filepath.Join(s.state, valueName)
	// In the source directory, wherever the commands went.
	status, err := s.run("cd "+quoted(s.home)+" 2>/dev/null\nIFS= read -r value_of_buildspec <<"+end+"\n"+text+"\n"+end+"\n"+
		"printf '%s' \"$value_of_buildspec\" >| "+value+"; unset value_of_buildspec", cred)
	if err != nil {
		return "", err
	}
	if status != 0 {
		return "", fmt.Errorf("expanding %q ended with status %d", text, status)
	}
	expanded, err := os.ReadFile(value)
	return string(expanded), err
}

// values gives what variables hold after the last command, without those that are not set.
func (s *shell) values(names []string, cred *syscall.Credential) (map[string]string, error) {
	value := filepath.Join(s.state, valueName)
	var text strings.Builder
	text.WriteString("{\n")
	for _, name := range names {
		text.WriteString("[ -z \"${" + name + "+set}\" ] || printf '%s=%s\\0' " + name + " \"$" + name + "\"\n")
	}
	text.WriteString("} >| " + value)
	if _, err := s.run(text.String(), cred); err != nil {
		return nil, err
	}
	told, err := os.ReadFile(value)
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for entry := range strings.SplitSeq(string(told), "\x00") {
		if name, value, ok := strings.Cut(entry, "="); ok {
			values[name] = value
		}
	}
	return values, nil
}

// dir is where the next command begins.
func (s *shell) dir() string {
	text, err := os.ReadFile(filepath.Join(s.state, dirName))
	dir := strings.TrimSuffix(string(text), "\n")
	if err == nil {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
	}
	return s.moveFrom(dir)
}

// moveFrom is where a command begins that cannot begin in dir: home or, if a build has removed or moved that, the root.
func (s *shell) moveFrom(dir string) string {
	to := "/"
	if info, err := os.Stat(s.home); dir != s.home && err == nil && info.IsDir() {
		to = s.home
	}
	s.log.Logf("The directory %s cannot be entered; moving to %s", dir, to)
	_ = s.set("PWD", to) // else the saved one would be restored
	return to
}

// writeInPlace keeps the file and its owner, and follows no link.
func writeInPlace(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_TRUNC|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// process runs the shell to its end. Whoever still holds the output then does not keep it from ending; what is read
// later belongs to the build.
func (s *shell) process(argv, env []string, dir string, cred *syscall.Credential) (int, error) {
	done, err := s.reaper.start(s.program, argv, &syscall.ProcAttr{
		Dir: dir,
		// A shell that finds PWD true takes it for its directory, and so keeps the links by which a build came there.
		Env:   append(slices.Clip(env), "PWD="+dir),
		Files: []uintptr{s.null.Fd(), s.pipe.write.Fd(), s.pipe.write.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true, Credential: cred},
	})
	if dir != "/" && (errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR)) {
		return s.process(argv, env, s.moveFrom(dir), cred) // the phase's user may not enter it, or it is gone
	}
	if err != nil {
		return 0, fmt.Errorf("starting %s in %s: %w", s.program, dir, err)
	}
	status := <-done
	s.pipe.drain()
	return exitStatus(status), nil
}
