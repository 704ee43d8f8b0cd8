package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// Codes of a phase's context, CodeBuild's words.
const (
	CodeCommand  = "COMMAND_EXECUTION_ERROR"
	CodeClient   = "CLIENT_ERROR"
	CodeTimedOut = "BUILD_TIMED_OUT"
	CodeInternal = "INTERNAL_ERROR"
)

// A build is one job under way.
type build struct {
	job     Job
	dir     string // the exchange directory
	log     *writer
	shell   *shell
	ok      bool // no phase has failed
	again   bool // a phase has failed whose on-failure asks for a new build
	last    *syscall.Credential
	key     string // the cache's, expanded
	broken  bool   // the one that was found is damaged
	keyless bool   // it could not be expanded: nothing is saved

	failing bool   // a command of the phase has failed, and finally runs
	message string // of the phase that failed last

	cut   chan struct{} // closed when the build is to end at once
	cutBy string        // why: Stopped or TimedOut; written before cut is closed
}

// errCut says that the build was stopped or has timed out.
var errCut = errors.New("cut")

// A failure is a phase's end for a reason of the author's.
type failure struct{ code, message string }

func (f *failure) Error() string { return f.message }

// run runs the phases and returns the build's result. An error is a fault of ours.
func (b *build) run() (string, error) {
	result, err := b.runAll()
	if errors.Is(err, errCut) {
		return b.cutBy, nil
	}
	return result, err
}

func (b *build) runAll() (string, error) {
	if err := b.restoreCache(); err != nil {
		return "", err
	}
	built := true // no phase up to BUILD has failed
	for i, phase := range b.job.Phases {
		failed, err := b.phase(phase, i == 0)
		if err != nil {
			return "", err
		}
		built = built && (!failed || phase.Name == "POST_BUILD")
		if failed && (b.again || !goesOn(phase)) {
			return Failed, b.export()
		}
	}
	if err := b.export(); err != nil {
		return "", err
	}
	if err := b.upload(); err != nil {
		return "", err
	}
	if built {
		if err := b.saveCache(); err != nil {
			return "", err
		}
	}
	if !b.ok {
		return Failed, nil
	}
	return Succeeded, nil
}

// goesOn reports whether the next phase runs after this one failed: buildspec.yml's transitions. Without on-failure,
// POST_BUILD follows a failed BUILD, the upload follows a failed POST_BUILD, and nothing follows the others.
func goesOn(phase Phase) bool {
	switch phase.OnFailure {
	case "CONTINUE":
		return true
	case "ABORT":
		return false
	}
	return phase.Name == "BUILD" || phase.Name == "POST_BUILD" // RETRY that is not followed by a new build is like no on-failure
}

// phase runs one phase and tells its end.
func (b *build) phase(phase Phase, first bool) (failed bool, err error) {
	b.log.event(Event{Kind: Enter, Phase: phase.Name})
	b.log.Logf("Entering phase %s", phase.Name)
	err = b.commands(phase, first)
	if failed, err = b.leave(phase.Name, err); failed && phase.OnFailure == "RETRY" {
		b.again = b.retries(phase)
	}
	return failed, err
}

// retries reports whether the failure of a phase is one that its on-failure asks a new build for.
func (b *build) retries(phase Phase) bool {
	pattern, err := regexp.Compile(phase.Retry)
	if err != nil {
		b.log.Logf("on-failure of %s: %v", phase.Name, err)
		return false
	}
	if !pattern.MatchString(b.message) && !pattern.Match(b.log.outputTail()) {
		b.log.Logf("The failure does not match %s: no new build", phase.Retry)
		return false
	}
	b.log.Logf("A new build begins, since on-failure of %s asks for it", phase.Name)
	return true
}

// leave tells a phase's end: a failure is the author's, any other error ours or a cut.
func (b *build) leave(name string, err error) (failed bool, _ error) {
	end := Event{Kind: Leave, Phase: name, Result: Succeeded}
	var author *failure
	switch {
	case errors.Is(err, errCut):
		end.Result = b.cutBy
		if b.cutBy == TimedOut {
			end.Code, end.Message = CodeTimedOut, "Build has timed out."
		}
	case errors.As(err, &author):
		b.ok, failed, err = false, true, nil
		end.Result, end.Code, end.Message = Failed, author.code, author.message
		b.message = author.message
	case err != nil:
		return false, err
	}
	b.log.Logf("Phase complete: %s State: %s", name, end.Result)
	b.log.Logf("Phase context status code: %s Message: %s", end.Code, clip(b.log.mask.text(end.Message), maxMessage))
	b.log.event(end)
	return failed, err
}

// commands runs commands, then finally whatever came of them.
func (b *build) commands(phase Phase, first bool) error {
	if first {
		// What is missing in the image fails the first phase.
		if err := b.shell.find(b.job.Shell); err != nil {
			return &failure{CodeClient, err.Error()}
		}
	}
	if err := b.succeeding(b.ok); err != nil {
		return err
	}
	if len(phase.Commands)+len(phase.Finally) == 0 {
		return nil
	}
	cred, err := b.shell.as(phase.RunAs)
	if err != nil {
		return &failure{CodeClient, "Error while executing phase: " + err.Error()}
	}
	b.last, b.failing = cred, false
	failed := b.list(phase, phase.Commands, false, cred)
	if failed != nil && !isFailure(failed) {
		return failed
	}
	if failed != nil {
		b.failing = true
		b.log.endTail()
		if err := b.succeeding(false); err != nil {
			return err
		}
	}
	if err := b.list(phase, phase.Finally, true, cred); err != nil && (failed == nil || !isFailure(err)) {
		return err
	}
	return failed
}

func isFailure(err error) bool {
	var author *failure
	return errors.As(err, &author)
}

func (b *build) succeeding(ok bool) error {
	value := "0"
	if ok {
		value = "1"
	}
	return b.shell.set("CODEBUILD_BUILD_SUCCEEDING", value)
}

// list runs commands up to the first that fails.
func (b *build) list(phase Phase, commands []string, finally bool, cred *syscall.Credential) error {
	for i, text := range commands {
		if b.isCut() {
			return errCut
		}
		shown := strings.TrimRight(text, "\n")
		b.log.Logf("Running command %s", shown)
		b.log.event(Event{Kind: Command, Phase: phase.Name, Index: i, Finally: finally, Message: shown})
		if phase.OnFailure == "RETRY" && !b.failing {
			b.log.keepTail()
		}
		kills := oomKills()
		run := b.shell.run
		if b.job.Fresh {
			run = b.shell.runFresh
		}
		status, err := run(text, cred)
		if err != nil {
			return err
		}
		exit := Event{Kind: Exit, Phase: phase.Name, Index: i, Finally: finally, Status: status}
		if status != 0 && oomKills() > kills {
			exit.Message = "killed, out of memory"
		}
		b.log.event(exit)
		if b.isCut() {
			return errCut
		}
		if status == 0 {
			continue
		}
		b.log.Logf("Command did not exit successfully %s exit status %d", shown, status)
		if word := bashWord.FindString(text); word != "" && (status == 127 || status == 2) && b.shell.argv0 != "bash" {
			b.log.Logf("%s may be what failed: it is bash's, and the shell is %s. Write `env: {shell: bash}` if the image has bash", strings.TrimSpace(word), b.shell.program)
		}
		message := fmt.Sprintf("Error while executing command: %s. Reason: exit status %d", clip(b.log.mask.text(shown), maxMessage/2), status)
		if exit.Message != "" {
			message += " (" + exit.Message + ")"
		}
		return &failure{CodeCommand, message}
	}
	return nil
}

// bashWord is what bash understands and other shells do not: the usual reason for status 127 or 2 of a command that works by hand.
var bashWord = regexp.MustCompile(`\[\[ |(?m:^|[;&|(]\s*)source |<\(|\w+=\(|\bdeclare -|\bshopt\b|\bpipefail\b`)

func (b *build) isCut() bool {
	select {
	case <-b.cut:
		return true
	default:
		return false
	}
}

// watch ends every process of the container when the build is stopped or has no time left. It returns when they are
// gone, or at once when ctx is done first.
func (b *build) watch(ctx context.Context, stop <-chan os.Signal) {
	timer := time.NewTimer(time.Until(b.job.Deadline))
	if b.job.Deadline.IsZero() {
		timer.Stop()
	}
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return
	case <-stop:
		b.cutBy = Stopped
	case <-timer.C:
		b.cutBy = TimedOut
	}
	close(b.cut)
	killAll()
}
