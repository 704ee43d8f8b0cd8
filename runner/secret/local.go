package secret

import (
	"context"
	"fmt"

	"buildsmith/store"

	"github.com/aws/aws-sdk-go-v2/config"
)

// LocalCredentials gives what AWS's programs on this machine would use, as variables for a build: credentials of a profile
// (empty for the environment's, or the default one) and the region, if one is known.
func LocalCredentials(ctx context.Context, profile string) (variables []store.Variable, region string, err error) {
	var options []func(*config.LoadOptions) error
	if profile != "" {
		options = append(options, config.WithSharedConfigProfile(profile))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, "", fmt.Errorf("reading the AWS configuration: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, awsAttempt)
	defer cancel()
	c, err := loaded.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("there are no AWS credentials on this machine: %w", err)
	}
	add := func(name, value string) {
		if value != "" {
			variables = append(variables, store.Variable{Name: name, Value: value})
		}
	}
	add("AWS_ACCESS_KEY_ID", c.AccessKeyID)
	add("AWS_SECRET_ACCESS_KEY", c.SecretAccessKey)
	add("AWS_SESSION_TOKEN", c.SessionToken)
	add("AWS_REGION", loaded.Region)
	add("AWS_DEFAULT_REGION", loaded.Region)
	return variables, loaded.Region, nil
}
