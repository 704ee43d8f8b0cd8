package githubtest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
)

// ErrNotInstalled says that the packages with GitHub's descriptions are not there. Its text names the way to get them.
var ErrNotInstalled = errors.New("the published descriptions of GitHub are not installed: " +
	"run `make test`, or `npm ci --prefix testdata/contracts`")

// The packages below testdata/contracts/node_modules and what is read of them.
const (
	apiPackage      = "@octokit/openapi"
	apiFile         = "generated/api.github.com.json"
	examplesPackage = "@octokit/webhooks-examples"
	examplesFile    = "api.github.com/index.json"
	schemasPackage  = "@octokit/webhooks-schemas"
	schemasFile     = "schema.json"
)

// A Contract is what GitHub publishes about its API, cut to the operations that a Server serves. It is only read, so that
// all servers of a process share one.
type Contract struct {
	doc    *openapi3.T
	routes []route // the most specific first
}

// LoadContract reads the contract, once in a process. The whole description takes seconds to load, so the first process
// ever leaves the cut in testdata/contracts/cache for all others. The error is ErrNotInstalled if there is neither.
func LoadContract() (*Contract, error) { return loadContract() }

var loadContract = sync.OnceValues(func() (*Contract, error) {
	dir, err := contractsDir()
	if err != nil {
		return nil, err
	}
	data, err := readCut(dir, operations())
	if err != nil {
		return nil, err
	}
	doc, err := openapi3.NewLoader().LoadFromData(data)
	if err != nil {
		return nil, fmt.Errorf("loading the description of GitHub's API: %w", err)
	}
	return newContract(doc, operations())
})

func newContract(doc *openapi3.T, operations []operation) (*Contract, error) {
	// The address of a server is not known yet and does not matter: requests come with their base path cut off.
	doc.Servers = openapi3.Servers{{URL: apiBase}}
	c := &Contract{doc: doc}
	for _, o := range operations {
		item := doc.Paths.Value(o.path)
		if item == nil || item.GetOperation(o.method) == nil {
			return nil, fmt.Errorf("the description of GitHub's API has no %s %s", o.method, o.path)
		}
		kin := &routers.Route{Spec: doc, Server: doc.Servers[0], Path: o.path, PathItem: item, Method: o.method, Operation: item.GetOperation(o.method)}
		c.routes = append(c.routes, newRoute(o, kin))
	}
	sortRoutes(c.routes)
	return c, nil
}

// readCut returns the cut of the description, from the cache or by making it.
func readCut(dir string, operations []operation) ([]byte, error) {
	version, err := pinned(dir, apiPackage)
	if err != nil {
		return nil, err
	}
	// What the cut depends on is in its name, so that an old one is never taken for a new one.
	sum := sha256.New()
	fmt.Fprintln(sum, cutFormat)
	for _, o := range operations {
		fmt.Fprintln(sum, o.method, o.path)
	}
	path := filepath.Join(dir, "cache", "github-"+version+"-"+hex.EncodeToString(sum.Sum(nil)[:6])+".json")
	if data, err := os.ReadFile(path); err == nil {
		return data, nil
	}
	whole, err := readPackage(dir, apiPackage, apiFile)
	if err != nil {
		return nil, err
	}
	data, err := cut(whole, operations)
	if err != nil {
		return nil, fmt.Errorf("cutting the description of GitHub's API: %w", err)
	}
	if err := writeWhole(path, data); err != nil {
		return nil, fmt.Errorf("keeping the cut of GitHub's description: %w", err)
	}
	return data, nil
}

// writeWhole writes a file so that others see all of it or nothing. Test binaries that run at the same time do the same.
func writeWhole(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".cut-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing is left of it once it is renamed
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// contractsDir finds testdata/contracts above the working directory, or else above this source file.
func contractsDir() (string, error) {
	var starts []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		starts = append(starts, filepath.Dir(file))
	}
	for _, start := range starts {
		for dir := start; ; dir = filepath.Dir(dir) {
			found := filepath.Join(dir, "testdata", "contracts")
			if _, err := os.Stat(filepath.Join(found, "package.json")); err == nil {
				return found, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", fmt.Errorf("testdata/contracts is in none of the directories above %q: %w", starts, ErrNotInstalled)
}

// pinned returns the version of a package that package.json asks for.
func pinned(dir, name string) (string, error) {
	var manifest struct {
		Dependencies map[string]string `json:"dependencies"`
	}
	data, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err != nil {
		return "", fmt.Errorf("reading the versions of the contracts: %w", err)
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return "", fmt.Errorf("reading %s: %w", filepath.Join(dir, "package.json"), err)
	}
	version := manifest.Dependencies[name]
	if version == "" {
		return "", fmt.Errorf("%s names no version of %s", filepath.Join(dir, "package.json"), name)
	}
	return version, nil
}

// readPackage reads a file of an installed package, which must have the version that is pinned.
func readPackage(dir, name, file string) ([]byte, error) {
	want, err := pinned(dir, name)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(dir, "node_modules", filepath.FromSlash(name))
	manifest, err := os.ReadFile(filepath.Join(root, "package.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("looking for %s: %w", name, ErrNotInstalled)
	}
	if err != nil {
		return nil, fmt.Errorf("looking for %s: %w", name, err)
	}
	var installed struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(manifest, &installed); err != nil || installed.Version != want {
		return nil, fmt.Errorf("%s is installed in version %q, wanted is %s: %w", name, installed.Version, want, ErrNotInstalled)
	}
	data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return data, nil
}
