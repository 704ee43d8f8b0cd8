package forgetest

import (
	"maps"
	"slices"
	"strings"
)

// Refs returns the branches and tags, and the hash each holds.
func Refs(dir string) (map[string]string, error) {
	out, err := Host{}.Git(dir, nil, "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags")
	if err != nil {
		return nil, err
	}
	refs := map[string]string{}
	for line := range strings.Lines(out) {
		ref, hash, _ := strings.Cut(strings.TrimSpace(line), " ")
		refs[ref] = hash
	}
	return refs, nil
}

// Resolve returns the commit that a branch, a tag or a hash names, in any of the forms that forges take.
func Resolve(dir, ref string) (string, bool) {
	if ref == "" || strings.HasPrefix(ref, "-") || strings.ContainsAny(ref, ":^~ \x00\n\\*?[") || strings.Contains(ref, "..") || strings.Contains(ref, "@{") {
		return "", false
	}
	out, err := Host{}.Git(dir, nil, "rev-parse", "--verify", "--quiet", "--end-of-options", ref+"^{commit}")
	return strings.TrimSpace(out), err == nil
}

// IsHash reports whether a text is a whole hash.
func IsHash(s string) bool {
	return len(s) == 40 && strings.Trim(s, "0123456789abcdef") == ""
}

// ChangedRefs returns the refs that differ, sorted.
func ChangedRefs(before, after map[string]string) []string {
	all := slices.Concat(slices.Collect(maps.Keys(before)), slices.Collect(maps.Keys(after)))
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(ref string) bool { return before[ref] == after[ref] })
}

// SetRef notes what a ref holds; no hash means that it is gone.
func SetRef(refs map[string]string, ref, hash string) {
	if hash == "" {
		delete(refs, ref)
	} else {
		refs[ref] = hash
	}
}
