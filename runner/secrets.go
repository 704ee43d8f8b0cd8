package runner

import (
	"context"
	"fmt"
	"strings"
	"time"

	"buildsmith/runner/agent"
	"buildsmith/runner/buildspec"
	"buildsmith/runner/secret"
	"buildsmith/store"
)

// secrets gives the values of the build's secret variables by name. A build of another repository's commit has none: variables
// leaves them out. The ending names everything that is missing, or says that it cannot be told now.
func (w *work) secrets(ctx context.Context, spec *buildspec.Spec) (map[string]string, *ending) {
	var names, at []string
	var wanted []secret.Wanted
	for _, v := range variables(spec, &w.b) {
		if v.Type != "" {
			names, at = append(names, v.Name), append(at, v.at)
			wanted = append(wanted, secret.Wanted{Kind: v.Type, Reference: v.Value})
		}
	}
	if len(wanted) == 0 {
		return nil, nil
	}
	values := map[string]string{}
	var missing []string
	for i, answer := range w.r.Secrets.ResolveAll(ctx, &w.b, wanted) {
		switch {
		case answer.Err == nil:
			values[names[i]] = answer.Value
		case secret.Authors(answer.Err):
			missing = append(missing, fmt.Sprintf("%s: %v", at[i], answer.Err))
		default:
			return nil, fault(store.PhaseDownloadSource, fmt.Errorf("%s: %w", at[i], answer.Err))
		}
	}
	if len(missing) > 0 {
		return nil, failed(store.PhaseDownloadSource, agent.CodeClient, "%s", strings.Join(missing, "; "))
	}
	return values, nil
}

// maxCredential is how long a build's credential for git is good for at most.
const maxCredential = time.Hour

// credential puts what lets git read the build's repository into the job, or says why the build goes without.
// https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html#build-spec.env.git-credential-helper
func (w *work) credential(ctx context.Context, job *agent.Job) (warning string, end *ending) {
	if w.b.Trigger.Fork {
		return "the build's git has no credential: the commit comes from another repository", nil
	}
	if w.revoke != nil { // of an attempt whose sandbox was gone
		w.revoke()
	}
	var c *agent.Credential
	if w.r.Credential != nil {
		var err error
		if c, w.revoke, err = w.r.Credential(context.WithoutCancel(ctx), w.b.Repo); err != nil {
			return "", fault(store.PhaseDownloadSource, err)
		}
	}
	if c == nil {
		return "the build's git has no credential: the forge gives none", nil
	}
	if latest := w.r.Store.Now().Add(maxCredential); c.Expires.IsZero() || c.Expires.After(latest) {
		c.Expires = latest
	}
	job.Credential = c
	job.Secrets = append(job.Secrets, c.Password, c.Username+":"+c.Password)
	return "", nil
}
