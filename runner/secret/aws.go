package secret

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"buildsmith/store"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
)

// AWS says how AWS's Systems Manager Parameter Store and Secrets Manager are asked. Credentials come from where AWS's own
// programs have them: the environment, the profile, the role of the machine.
type AWS struct {
	Region   string // empty for that of the environment or the profile
	Profile  string // empty for the environment's, or the default one
	Endpoint string // of both services; empty for AWS's own
	Rules    store.SecretRules

	// Transport changes how requests are sent, for a proxy and certificate authorities; it may be nil.
	Transport func(*http.Transport)
}

// Limits of asking AWS. The client tries three times, with growing pauses.
const (
	awsAttempt = 15 * time.Second
	awsTotal   = time.Minute
)

// amazon is AWS as a provider.
type amazon struct {
	AWS
	parameters *ssm.Client
	secrets    *secretsmanager.Client
}

func newAmazon(ctx context.Context, c AWS) (*amazon, error) {
	client := awshttp.NewBuildableClient().WithTimeout(awsAttempt).WithTransportOptions(func(t *http.Transport) {
		if c.Transport != nil {
			c.Transport(t)
		}
		t.Proxy = nearby(t.Proxy)
	})
	options := []func(*config.LoadOptions) error{config.WithHTTPClient(client), config.WithLogger(logging.Nop{})}
	if c.Region != "" {
		options = append(options, config.WithRegion(c.Region))
	}
	if c.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(c.Profile))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, err
	}
	if loaded.Region == "" {
		return nil, errors.New("no region: name one, such as eu-west-1")
	}
	var endpoint *string
	if c.Endpoint != "" {
		endpoint = &c.Endpoint
	}
	return &amazon{c,
		ssm.NewFromConfig(loaded, func(o *ssm.Options) {
			if endpoint != nil {
				o.BaseEndpoint = endpoint
			}
		}),
		secretsmanager.NewFromConfig(loaded, func(o *secretsmanager.Options) {
			if endpoint != nil {
				o.BaseEndpoint = endpoint
			}
		}),
	}, nil
}

// metadata is where AWS tells machines with IPv6 their credentials, beside addresses of their own link.
var metadata = netip.MustParsePrefix("fd00:ec2::/32")

// nearby is a proxy, but not for the addresses where a cloud tells machines and containers their credentials.
func nearby(proxy func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	if proxy == nil {
		return nil
	}
	return func(r *http.Request) (*url.URL, error) {
		if ip, err := netip.ParseAddr(r.URL.Hostname()); err == nil && (ip.IsLinkLocalUnicast() || ip.IsLoopback() || metadata.Contains(ip)) {
			return nil, nil
		}
		return proxy(r)
	}
}

func (*amazon) String() string { return "AWS" }

// value asks for a source by its own id. Who may not read AWS's secrets does not make the server ask for them.
func (a *amazon) value(ctx context.Context, b *store.Build, src source, _ string) (string, error) {
	if !a.Rules.Allow(b) {
		return "", errDenied
	}
	ctx, cancel := context.WithTimeout(ctx, awsTotal)
	defer cancel()
	var value *string
	var err error
	if src.kind == store.ParameterStore {
		value, err = a.parameter(ctx, src)
	} else {
		value, err = a.secret(ctx, src)
	}
	if err != nil {
		return "", src.awsError(err)
	}
	if value == nil {
		return "", fail(fs.ErrNotExist, "%s: AWS has no text for %.200q, only bytes: a variable's value is text", src.absent(), src.id)
	}
	return *value, nil
}

func (a *amazon) parameter(ctx context.Context, src source) (*string, error) {
	name := src.id
	if selector := src.version + src.stage; selector != "" {
		name += ":" + selector
	}
	out, err := a.parameters.GetParameter(ctx, &ssm.GetParameterInput{Name: &name, WithDecryption: aws.Bool(true)}, func(o *ssm.Options) {
		if region := src.region(); region != "" {
			o.Region = region
		}
	})
	if err != nil {
		return nil, err
	}
	if out.Parameter == nil || out.Parameter.Value == nil {
		return nil, errAnswer
	}
	return out.Parameter.Value, nil
}

func (a *amazon) secret(ctx context.Context, src source) (*string, error) {
	in := &secretsmanager.GetSecretValueInput{SecretId: &src.id}
	if src.stage != "" {
		in.VersionStage = &src.stage
	}
	if src.version != "" {
		in.VersionId = &src.version
	}
	out, err := a.secrets.GetSecretValue(ctx, in, func(o *secretsmanager.Options) {
		if region := src.region(); region != "" {
			o.Region = region
		}
	})
	if err != nil {
		return nil, err
	}
	if out.SecretString == nil && out.SecretBinary == nil {
		return nil, errAnswer
	}
	return out.SecretString, nil
}

// region is the one that an ARN names, which is asked then.
func (src source) region() string {
	if fields := strings.Split(src.id, ":"); len(fields) > 5 && fields[0] == "arn" {
		return fields[3]
	}
	return ""
}

var errAnswer = errors.New("the answer is not understood")

// awsError sorts an error of AWS's client. The texts of its errors are not passed on where they could quote an answer.
func (src source) awsError(err error) error {
	var operation, within *smithy.OperationError
	var answered smithy.APIError
	if errors.As(err, &operation) && errors.As(operation.Err, &within) { // to get credentials
		return &fault{"AWS's client has no credentials; the server's log says why", err}
	}
	if !errors.As(err, &answered) {
		return transportError(err)
	}
	switch code := answered.ErrorCode(); code {
	case "ParameterNotFound":
		return errElsewhere
	case "ResourceNotFoundException":
		if text := answered.ErrorMessage(); (src.stage != "" || src.version != "") && (strings.Contains(text, "staging label") || strings.Contains(text, "VersionId")) {
			return errVersion
		}
		return errElsewhere
	case "ParameterVersionNotFound":
		return errVersion
	case "AccessDeniedException":
		action := "secretsmanager:GetSecretValue, and kms:Decrypt for its key"
		if src.kind == store.ParameterStore {
			action = "ssm:GetParameter, and kms:Decrypt for its key"
		}
		return &failure{fs.ErrPermission, fmt.Sprintf("%s: AWS does not let this server read %.200q: allow its role %s", src.absent(), src.id, action), answered}
	case "ValidationException", "InvalidParameterException":
		return &failure{ErrReference, fmt.Sprintf("AWS does not take %.200q for a name or version", src.id), answered}
	case "InvalidRequestException":
		return &failure{fs.ErrNotExist, fmt.Sprintf("%s: AWS does not give the value of %.200q, as of one that is marked for deletion", src.absent(), src.id), answered}
	case "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException", "InvalidClientTokenId", "IncompleteSignature", "MissingAuthenticationToken":
		return &fault{fmt.Sprintf("AWS does not take the server's credentials (%.100s); the server's log says why", code), answered}
	default:
		return &fault{fmt.Sprintf("the answer is %.100q; the server's log says more", code), answered}
	}
}

// transportError is for what is no answer of AWS's.
func transportError(err error) error {
	var damaged *smithy.DeserializationError
	var sent *url.Error
	var response *awshttp.ResponseError
	switch {
	case errors.Is(err, errAnswer), errors.As(err, &damaged):
		if errors.As(err, &response) {
			return fmt.Errorf("%w (status %d)", errAnswer, response.HTTPStatusCode())
		}
		return errAnswer
	case errors.As(err, &sent):
		return &fault{"the connection failed; the server's log says why", sent.Err}
	}
	return &fault{"it could not be asked; the server's log says why", err}
}
